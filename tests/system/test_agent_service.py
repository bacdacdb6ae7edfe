"""The real agent between a simulated car, a real Mosquitto and the real cloud: from frames to a recipient's file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carnet import canonical
from carnet.ids import device_text
from tests.agent.units import DBC
from tests.system.mosquitto import HOST, Mosquitto, free_port

WAIT_S = 30.0
VEHICLE = device_text(bytes(range(16)))
TENANT = "ten_aaaaaaaaaaaaaaaa"
RECIPIENT = "rcp_aaaaaaaaaaaaaaaa"
SPEED = "Vehicle.Speed"
OFFER = {
    "v": 1, "type": "offer", "id": "off_aaaaaaaaaaaaaaaa", "tenant": TENANT, "recipient": RECIPIENT,
    "recipient_name": "Workshop", "purpose": {"code": "dpv:RepairAndMaintenance", "text": "Look at the car."},
    "items": [{"path": SPEED, "need": "required", "transform": {"interval_ms": 500}, "class": "live", "when": []}],
    "reveals": "How fast you drive.", "incentive": None, "retention_days": 30, "valid_days": 30,
    "storage_location": "EU", "replay_ms": 0,
}  # fmt: skip
AGENT = """
[unit]
state = "agent"
[mqtt]
host = "127.0.0.1"
port = {mqtt}
[[bus]]
name = "can0"
interface = "udp_multicast"
channel = "239.74.163.2"
dbc = ["{dbc}/carnet_demo.dbc"]
mapping = ["{dbc}/carnet_demo.map.toml"]
options = {{ port = {can}, hop_limit = 0 }}
"""
CLOUD = """
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
mappings = ["{dbc}/carnet_demo.map.toml"]
[[recipient]]
kind = "file"
id = "{recipient}"
name = "Workshop"
path = "workshop/events.jsonl"
"""


def until(happened: Callable[[], bool], what: Callable[[], str] = lambda: "") -> None:
    """Wait for it; polling real processes cannot do without a little sleep."""
    end = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < end, f"it did not happen in time {what()}"
        time.sleep(0.05)


class Road:
    """One folder with a cloud, a broker, a unit and an owner; programs run until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.can, self.api = free_port(), free_port()
        self.broker = Mosquitto(folder)
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("store", "journal", "workshop"):
            (folder / name).mkdir()
        token = folder / "operator.token"
        token.write_text("a-token-that-is-long-enough-for-an-operator")
        token.chmod(0o600)
        self.token = token.read_text()
        ports = {"mqtt": self.broker.port, "can": self.can, "api": self.api, "dbc": DBC, "recipient": RECIPIENT}
        (folder / "agent.toml").write_text(AGENT.format(**ports))
        (folder / "cloud.toml").write_text(CLOUD.format(**ports))

    def prepare(self) -> None:
        """Keys, pairing, broker, cloud, enrolment and one offer."""
        self.ask("carnet.cli", "owner", "keygen", "--out", "owner")
        self.ask("carnet_cloud", "keygen", "cloud-keys")
        self.ask(
            "carnet_agent", "pair", "--config", "agent.toml", "--owner-key", "owner/owner.public.json",
            "--cloud-keys", "cloud-keys/cloud.public.json", "--vehicle", VEHICLE,
        )  # fmt: skip
        self.broker.start()
        self.start("cloud", "carnet_cloud", "run", "--config", "cloud.toml")
        until(lambda: bool(self.health().get("connected")), lambda: self.log("cloud"))
        self.ask("carnet_cloud", "enrol", "enrolment.json", "--tenant", TENANT, "--config", "cloud.toml")
        offer = canonical.encode({**OFFER, "created_ms": time.time_ns() // 1_000_000})
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"http://{HOST}:{self.api}/v1/offers", offer, headers)).close()

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
        address = ("--cloud", f"http://{HOST}:{self.api}", "--vehicle", VEHICLE, "--key", "owner", "--json")
        return json.loads(self.ask("carnet.cli", "owner", *words, *address))

    def status(self) -> dict[str, Any]:
        """What the running agent says; empty if none runs."""
        command = [sys.executable, "-m", "carnet_agent", "status", "--json", "--config", "agent.toml"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return dict(json.loads(done.stdout)) if done.stdout else {}

    def health(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.api}/healthz", timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def samples(self) -> int:
        """Readings that the recipient has got, each a speed under the one record."""
        path = self.folder / "workshop" / "events.jsonl"
        events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        columns = [column for event in events for column in event["data"]["columns"]]
        assert {column["path"] for column in columns} <= {SPEED}
        return sum(len(column["v"]) for column in columns)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-3000:]

    def close(self) -> None:
        for process in self.programs.values():
            process.kill()
            process.wait()
        self.broker.stop()


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    made = Road(tmp_path)
    try:
        made.prepare()
        yield made
    finally:
        made.close()


@pytest.mark.timeout(180)
def test_frames_become_a_recipients_readings_and_sigterm_loses_none(road: Road) -> None:
    """Check-in, acknowledgement, grant set, data, and at the end a flush: all of it by the programs themselves."""
    road.start("agent", "carnet_agent", "run", "--config", "agent.toml")
    until(lambda: road.status().get("broker", {}).get("connections", 0) > 0, lambda: road.log("agent"))
    road.start("car", "carnet_simulator", "drive", "--seed", "3", "--channel", f"can0=multicast:{road.can}")
    time.sleep(1)
    assert road.samples() == 0, "nobody agreed to anything yet"

    record = road.owner("grant", str(OFFER["id"]))["record"]
    until(lambda: road.samples() > 0, lambda: road.log("agent") + road.log("cloud"))
    assert "status" not in road.log("agent")

    before = road.samples()
    time.sleep(2)
    assert road.stop("agent") == 0
    until(lambda: road.samples() > before, lambda: road.log("agent"))
    facts = road.status()
    assert facts["running"] is False
    assert record.startswith("rec_")
    for path in (road.folder / "agent").rglob("*"):
        assert (
            path.is_dir()
            or VEHICLE.encode() not in path.read_bytes()
            or path.name in {"owner.json", "consent.db", "consent.db-wal"}
        )


@pytest.mark.timeout(180)
def test_a_broker_that_was_away_costs_no_reading(road: Road) -> None:
    """What was collected meanwhile waits in the buffer and goes when the broker is back."""
    road.start("agent", "carnet_agent", "run", "--config", "agent.toml")
    until(lambda: road.status().get("broker", {}).get("connections", 0) > 0, lambda: road.log("agent"))
    road.owner("grant", str(OFFER["id"]))
    road.start("car", "carnet_simulator", "drive", "--seed", "3", "--channel", f"can0=multicast:{road.can}")
    until(lambda: road.samples() > 0, lambda: road.log("agent") + road.log("cloud"))
    road.broker.kill()
    until(lambda: road.status()["counters"]["rows_waiting"] > 0, lambda: road.log("agent"))
    before = road.samples()
    road.broker.start()
    until(lambda: road.samples() > before, lambda: road.log("agent"))
