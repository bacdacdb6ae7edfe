"""A paired unit in a folder: its configuration over the demonstration car's DBC, its keys, and its agent as a program.

Law: the agent is the product's own command; only its bus is another, a UDP socket on loopback that carries the same
``struct can_frame`` through the same reader, because this machine's kernel may have no CAN.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tomllib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

from carnet.ids import device_bytes
from carnet_agent.bus.filters import Filter
from carnet_agent.bus.reader import BusReader
from carnet_agent.bus.socketcan import RECEIVE_BUFFER_BYTES, SocketReader, prepare
from carnet_agent.local import ask
from carnet_agent.pairing import Pairing, pair
from carnet_agent.settings import Settings
from carnet_agent.statefolder import make
from tests import consentkit as kit
from tests.cloud.kit import KEYS

DBC = Path(__file__).resolve().parents[2] / "dbc"
DATABASE, MAPPING = DBC / "carnet_demo.dbc", DBC / "carnet_demo.map.toml"
HOST = "127.0.0.1"
CONFIG = """
[unit]
state = "state"

[mqtt]
host = "127.0.0.1"
port = {port}

[[bus]]
name = "can0"
channel = "can0"
dbc = ["{dbc}"]
mapping = ["{mapping}"]
"""


def make_unit(folder: Path, broker_port: int) -> None:
    """Write agent.toml, pair the example owner's car with the test cloud, and leave ``enrolment`` for the cloud."""
    (folder / "agent.toml").write_text(CONFIG.format(port=broker_port, dbc=DATABASE, mapping=MAPPING))
    asked = Pairing(kit.OWNER_KEY.public, KEYS.public, device_bytes(kit.VEHICLE))
    make(folder / "state")
    (folder / "enrolment").write_bytes(pair(folder / "state", asked, os.urandom))


def mapped_paths(count: int) -> list[str]:
    """The first paths of the demonstration car that say nothing about who somebody is."""
    assert hashlib.sha256(DATABASE.read_bytes()).hexdigest() in MAPPING.read_text()
    rows = tomllib.loads(MAPPING.read_text())["signal"]
    paths = [str(row["path"]) for row in rows if "path" in row and row["category"] != "identity"]
    found = list(dict.fromkeys(paths))[:count]
    assert len(found) == count
    return found


class Loopback:
    """A bus that is a UDP port; like every bus without kernel filters it brings all frames."""

    def __init__(self, port: int) -> None:
        self._port = port

    def open(self, _filters: Sequence[Filter]) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        prepare(opened, RECEIVE_BUFFER_BYTES)
        opened.bind((HOST, self._port))
        return opened

    def filter(self, opened: socket.socket, filters: Sequence[Filter]) -> None:
        """There is no kernel filter on UDP: the plan drops what is not granted."""


def run_agent(folder: Path, bus_port: int) -> int:
    """``carnet-agent run`` in this process, with the bus on a port."""
    from carnet_agent import __main__ as program
    from carnet_agent.commands import run

    def open_buses(settings: Settings) -> dict[str, BusReader]:
        return {bus.name: SocketReader(Loopback(bus_port), n) for n, bus in enumerate(settings.bus)}

    with patch.object(run, "open_buses", open_buses):
        return program.main(["run", "--config", str(folder / "agent.toml")])


def status(folder: Path) -> dict[str, Any]:
    """What the running agent says; empty while none answers."""
    from carnet.errors import Error

    try:
        return ask(folder / "state", {"do": "status"})
    except Error:
        return {}


def free_udp_port() -> int:
    """A loopback port that nobody had when this returned."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
