"""A cloud, a broker, a unit and an owner as the programs that users run, in one folder, on free ports.

Law: what a test does not change works; every program that was started ends with the test.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from carnet import canonical
from carnet.errors import Error
from carnet.ids import device_text
from carnet_agent.local import ask
from tests.agent.units import DBC
from tests.system.mosquitto import HOST, Mosquitto, free_port

WAIT_S: Final = 60.0
VEHICLE: Final = device_text(bytes(range(16)))
TENANT: Final = "ten_aaaaaaaaaaaaaaaa"
RECIPIENT: Final = "rcp_aaaaaaaaaaaaaaaa"
GROUP: Final = "239.74.163.2"
SPEED: Final = "Vehicle.Speed"
OFFER: Final[dict[str, Any]] = {
    "v": 1, "type": "offer", "id": "off_aaaaaaaaaaaaaaaa", "tenant": TENANT, "recipient": RECIPIENT,
    "recipient_name": "Workshop", "purpose": {"code": "dpv:RepairAndMaintenance", "text": "Look at the car."},
    "items": [{"path": SPEED, "need": "required", "transform": {"interval_ms": 500}, "class": "live", "when": []}],
    "reveals": "How fast you drive.", "incentive": None, "retention_days": 30, "valid_days": 30,
    "storage_location": "EU", "replay_ms": 0,
}  # fmt: skip
AGENT: Final = """
[unit]
state = "agent"
[mqtt]
host = "127.0.0.1"
port = {mqtt}
"""
BUS: Final = """
[[bus]]
name = "{name}"
interface = "udp_multicast"
channel = "{group}"
dbc = ["{dbc}"]
mapping = ["{mapping}"]
options = {{ port = {port}, hop_limit = 0 }}
"""
CLOUD: Final = """
[store]
path = "store/cloud.db"
journal = "journal/narrowings"
wrapping_keys = "wrapping-keys"
[keys]
folder = "cloud-keys"
[mqtt]
host = "127.0.0.1"
port = {mqtt}
[api]
listen = "127.0.0.1:{api}"
operator_token_file = "operator.token"
[catalogue]
mappings = ["{mapping}"]
[[recipient]]
kind = "file"
id = "{recipient}"
name = "Workshop"
path = "workshop/events.jsonl"
"""


def until(happened: Callable[[], bool], what: Callable[[], str] = lambda: "", wait_s: float = WAIT_S) -> None:
    """Wait for it; polling real processes cannot do without a little sleep."""
    end = time.monotonic() + wait_s
    while not happened():
        assert time.monotonic() < end, f"it did not happen in time {what()}"
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Car:
    """What the unit listens to: buses that share one DBC and one mapping file, each on a multicast port of its own."""

    dbc: Path = DBC / "carnet_demo.dbc"
    mapping: Path = DBC / "carnet_demo.map.toml"
    ports: dict[str, int] = field(default_factory=lambda: {"can0": free_port()})


class Road:
    """Programs run until `close`. ``broker``: if not a plain one; ``more_cloud``: further lines of cloud.toml."""

    def __init__(
        self, folder: Path, car: Car | None = None, broker: Mosquitto | None = None, more_cloud: str = ""
    ) -> None:
        self.folder = folder
        self.car = car or Car()
        self.api = free_port()
        self.broker = broker or Mosquitto(folder)
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self.silence = ""
        """Why the agent did not answer when `facts` was empty the last time."""
        for name in ("store", "journal", "workshop"):
            (folder / name).mkdir()
        token = folder / "operator.token"
        token.write_text("a-token-that-is-long-enough-for-an-operator")
        token.chmod(0o600)
        self.token = token.read_text()
        text = AGENT.format(mqtt=self.broker.port)
        for name, port in self.car.ports.items():
            text += BUS.format(name=name, group=GROUP, dbc=self.car.dbc, mapping=self.car.mapping, port=port)
        (folder / "agent.toml").write_text(text)
        names = {"mqtt": self.broker.port, "api": self.api, "mapping": self.car.mapping, "recipient": RECIPIENT}
        (folder / "cloud.toml").write_text(CLOUD.format(**names) + more_cloud)

    def prepare(self, offers: Sequence[dict[str, Any]] = (OFFER,)) -> None:
        """Keys, pairing, broker, cloud, enrolment and the offers."""
        self.ask("carnet.cli", "owner", "keygen", "--out", "owner")
        self.ask("carnet_cloud", "keygen", "cloud-keys")
        self.ask(
            "carnet_agent", "pair", "--config", "agent.toml", "--owner-key", "owner/owner.public.json",
            "--cloud-keys", "cloud-keys/cloud.public.json", "--vehicle", VEHICLE,
        )  # fmt: skip
        self.broker.start()
        self.start_cloud()
        until(lambda: bool(self.health().get("connected")), lambda: self.log("cloud"))
        self.ask("carnet_cloud", "enrol", "enrolment.json", "--tenant", TENANT, "--config", "cloud.toml")
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        for document in offers:
            offer = canonical.encode({**document, "created_ms": time.time_ns() // 1_000_000})
            request = urllib.request.Request(f"http://{HOST}:{self.api}/v1/offers", offer, headers)
            urllib.request.urlopen(request).close()

    def start_cloud(self) -> None:
        self.start("cloud", "carnet_cloud", "run", "--config", "cloud.toml")

    def start_agent(self) -> None:
        self.start("agent", "carnet_agent", "run", "--config", "agent.toml")

    def connected(self) -> bool:
        """Whether the agent has found the broker."""
        return bool(self.status().get("broker", {}).get("connections", 0))

    def start_car(self, seed: int) -> None:
        """The simulated car, on can0."""
        channel = f"can0=multicast:{self.car.ports['can0']}"
        self.start("car", "carnet_simulator", "drive", "--seed", str(seed), "--channel", channel)

    def facts(self) -> dict[str, Any]:
        """What the running agent says of itself, asked without a process; empty if it does not answer."""
        try:
            return ask(self.folder / "agent", {"do": "status"})
        except (OSError, ValueError, Error) as error:
            self.silence = repr(error)
            return {}

    def kill(self, name: str) -> None:
        """SIGKILL, and gone when this returns."""
        process = self.programs.pop(name)
        process.kill()
        process.wait()

    def start(self, name: str, *words: str) -> None:
        """Run a program until the test ends; its words go to a log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", *words]
            self.programs[name] = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def stop(self, name: str) -> int:
        """SIGTERM; the exit code."""
        process = self.programs.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def ask(self, *words: str) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def owner(self, *words: str) -> Any:
        return json.loads(self.ask("carnet.cli", "owner", *words, *self.address()))

    def address(self) -> tuple[str, ...]:
        """What every word of the owner's needs."""
        key = str(self.folder / "owner")
        return ("--cloud", f"http://{HOST}:{self.api}", "--vehicle", VEHICLE, "--key", key, "--json")

    def status(self) -> dict[str, Any]:
        """What the running agent says; empty if none runs."""
        command = [sys.executable, "-m", "carnet_agent", "status", "--json", "--config", "agent.toml"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return dict(json.loads(done.stdout)) if done.stdout else {}

    def health(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._asked("/v1/health")))
        except OSError:
            return {}

    def ready(self) -> bool:
        """Whether the cloud has all that it needs."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.api}/readyz", timeout=5) as answer:
                return bool(json.load(answer)["ready"])
        except OSError:
            return False

    def metrics(self) -> str:
        """What Prometheus would read of the cloud."""
        return self._asked("/metrics")

    def _asked(self, path: str) -> str:
        """What the cloud answers its operator."""
        request = urllib.request.Request(f"http://{HOST}:{self.api}{path}")
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bytes(answer.read()).decode()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-3000:]

    def close(self) -> None:
        for process in self.programs.values():
            process.kill()
            process.wait()
        self.broker.stop()
