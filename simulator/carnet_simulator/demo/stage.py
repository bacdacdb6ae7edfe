"""The folder in which a demonstration happens, and its programs: keys, configuration files, broker, cloud, agent, car.

Everything is what an operator would write by hand; a kept folder can be looked at and run again.
"""

from __future__ import annotations

import base64
import getpass
import json
import os
import secrets
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from carnet import ids
from carnet.errors import UnavailableError
from carnet_simulator.bus import GROUP
from carnet_simulator.demo.catalogue import cloud_catalogue
from carnet_simulator.demo.programs import HOST, Programs, ask, free_port, mosquitto
from carnet_simulator.demo.scene import INSURER, SHOP, Scene, offer_bytes
from carnet_simulator.ourprograms import AGENT, CLOUD, OWNER, SIMULATOR, command

CEILING: Final = ("location", "driving", "energy", "maintenance", "comfort", "unmapped")
"""All but identity: what the demonstration's car never gives, whoever asks and whoever agrees."""
MOSQUITTO: Final = """\
user {user}
listener {port} {host}
allow_anonymous true
persistence true
persistence_location {folder}/
retain_available false
max_packet_size 300000
"""


@dataclass(slots=True)
class Stage:
    """Paths, ports and names of one demonstration; made by `build`."""

    folder: Path
    scene: Scene
    tenant: str
    vehicle: str
    programs: Programs
    broker: str = ""
    secret: str = field(default_factory=lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    mqtt_port: int = 0
    api_port: int = field(default_factory=free_port)
    can_ports: dict[str, int] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        """Recipient -> the file with what it got."""
        return {SHOP: self.folder / "repair-shop" / "events.jsonl", INSURER: self.folder / "insurer" / "events.jsonl"}

    @property
    def agent_config(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def cloud_config(self) -> Path:
        return self.folder / "cloud.toml"

    @property
    def owner_public(self) -> Path:
        return self.folder / "owner" / "owner.public.json"

    def ask_owner(self, *words: str) -> Any:
        """What a ``carnet owner`` command answers, as JSON."""
        environment = {
            "CARNET_CLOUD": f"http://{HOST}:{self.api_port}",
            "CARNET_VEHICLE": self.vehicle,
            "CARNET_KEY": str(self.folder / "owner"),
        }
        return json.loads(ask(command(OWNER, "owner", *words, "--json"), environment))

    def health(self) -> dict[str, Any]:
        """What the cloud says of itself; empty if it does not answer."""
        try:
            request = urllib.request.Request(f"http://{HOST}:{self.api_port}/v1/health")
            request.add_header("Authorization", f"Bearer {self.token}")
            with urllib.request.urlopen(request, timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError):
            return {}

    def waiting(self) -> int:
        """Events that the cloud has not handed over yet."""
        depth = self.health().get("outbox", {})
        return sum(depth.get(state, 0) for state in ("queued", "leased"))


def build(folder: Path, scene: Scene, tenant: str, webhook_url: Callable[[Stage], str]) -> Stage:
    """Keys, pairing and configuration files; nothing runs yet. ``webhook_url`` is asked once the secret is known."""
    stage = Stage(folder, scene, tenant, ids.device_text(os.urandom(ids.DEVICE_BYTES)), Programs(folder / "logs"))
    for name in ("store", "journal", "broker", *(path.parent.name for path in stage.files.values())):
        (folder / name).mkdir(mode=0o700)
    for file, text in (("webhook.secret", stage.secret), ("operator.token", stage.token)):
        _write_secret(folder / file, text)
    stage.mqtt_port = free_port()
    stage.can_ports = {bus.name: free_port(socket.SOCK_DGRAM) for bus in scene.buses}
    (folder / "catalogue.toml").write_text(cloud_catalogue(scene.signals))
    stage.agent_config.write_text(_agent_toml(stage))
    stage.cloud_config.write_text(_cloud_toml(stage, webhook_url(stage)))
    ask(command(OWNER, "owner", "keygen", "--out", str(folder / "owner")))
    ask(command(CLOUD, "keygen", str(folder / "cloud-keys")))
    ask(
        command(
            AGENT, "pair", "--config", str(stage.agent_config), "--owner-key", str(stage.owner_public),
            "--cloud-keys", str(folder / "cloud-keys" / "cloud.public.json"), "--vehicle", stage.vehicle,
            "--out", str(folder / "enrolment.json"),
        )
    )  # fmt: skip
    return stage


def broker_program(choice: str) -> str | None:
    """Where Mosquitto is; None if the development broker is to be used."""
    program = mosquitto() if choice != "development" else None
    if program is None and choice == "mosquitto":
        raise UnavailableError("no_mosquitto", "no mosquitto here: apt-get install --no-install-recommends mosquitto")
    return program


def start_broker(stage: Stage, choice: str) -> None:
    """Mosquitto, or the development broker where there is none."""
    program = broker_program(choice)
    if program is None:
        stage.broker = "development broker"
        words = command(SIMULATOR, "broker", "--port", str(stage.mqtt_port))
    else:
        stage.broker = "Mosquitto"
        store = stage.folder / "broker"
        config = store / "mosquitto.conf"
        text = MOSQUITTO.format(user=getpass.getuser(), port=stage.mqtt_port, host=HOST, folder=store)
        config.write_text(text)
        words = [program, "-c", str(config)]
    stage.programs.start("broker", words)
    stage.programs.wait_for("broker", lambda: _listens(stage.mqtt_port))


def start_cloud(stage: Stage) -> None:
    """The receiver, the unit's enrolment, and the two offers."""
    stage.programs.start("cloud", command(CLOUD, "run", "--config", str(stage.cloud_config)))
    stage.programs.wait_for("cloud", lambda: bool(stage.health().get("connected")))
    enrolment = str(stage.folder / "enrolment.json")
    ask(command(CLOUD, "enrol", enrolment, "--tenant", stage.tenant, "--config", str(stage.cloud_config)))
    for party in stage.scene.parties:
        _publish(stage, offer_bytes(party))


def start_agent(stage: Stage, mode: str) -> None:
    """The unit in the car, with the driver's mode."""
    stage.programs.start("agent", command(AGENT, "run", "--config", str(stage.agent_config)))
    if mode != "normal":
        words = command(AGENT, "mode", mode, "--config", str(stage.agent_config))
        stage.programs.wait_for("agent", lambda: _succeeds(words))


def start_car(stage: Stage) -> None:
    """The car, or the capture, on buses of its own."""
    channels = [word for bus, port in stage.can_ports.items() for word in ("--channel", f"{bus}=multicast:{port}")]
    stage.programs.start("car", command(SIMULATOR, *stage.scene.car, *channels))


def _agent_toml(stage: Stage) -> str:
    parts = [
        '[unit]\nstate = "agent"\n',
        f'[mqtt]\nhost = "{HOST}"\nport = {stage.mqtt_port}\n',
        f"[ceiling]\ncategories = {json.dumps(CEILING)}\n",
    ]
    parts += [
        f'[[bus]]\nname = "{bus.name}"\ninterface = "udp_multicast"\nchannel = "{GROUP}"\n'
        f'dbc = {_paths(bus.dbc)}\nmapping = {_paths(bus.mapping)}\nmatch = "{bus.match}"\n'
        f"options = {{ port = {stage.can_ports[bus.name]}, hop_limit = 0 }}\n"
        for bus in stage.scene.buses
    ]
    return "\n".join(parts)


def _cloud_toml(stage: Stage, webhook_url: str) -> str:
    shop, insurer = stage.scene.parties
    return f"""\
[store]
path = "store/cloud.db"
journal = "journal/narrowings"
wrapping_keys = "wrapping-keys"

[keys]
folder = "cloud-keys"

[mqtt]
host = "{HOST}"
port = {stage.mqtt_port}

[api]
listen = "{HOST}:{stage.api_port}"
operator_token_file = "operator.token"

[catalogue]
mappings = ["catalogue.toml"]

[[recipient]]
kind = "file"
id = "{shop.id}"
name = "{shop.offer["recipient_name"]}"
path = "{stage.files[SHOP].relative_to(stage.folder)}"

[[recipient]]
kind = "webhook"
id = "{insurer.id}"
name = "{insurer.offer["recipient_name"]}"
url = "{webhook_url}"
secret_file = "webhook.secret"
"""


def _publish(stage: Stage, document: bytes) -> None:
    """As the operator: the one who may say what can be asked for."""
    request = urllib.request.Request(
        f"http://{HOST}:{stage.api_port}/v1/offers",
        data=document,
        headers={"Authorization": f"Bearer {stage.token}", "Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=15).close()
    except urllib.error.HTTPError as error:
        raise UnavailableError("offer_refused", f"the cloud refused an offer: {error.read(500)!r}") from None
    except OSError as error:
        raise UnavailableError("cloud_unreachable", f"the cloud took no offer: {error}") from None


def _succeeds(words: list[str]) -> bool:
    try:
        ask(words)
    except UnavailableError:
        return False
    return True


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _write_secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _paths(paths: tuple[Path, ...]) -> str:
    return json.dumps([str(path.absolute()) for path in paths])
