"""Opening a bus as the unit's configuration names it: SocketCAN directly, everything else through python-can.

Law: a bus that cannot be opened now is not an error; its reader keeps trying.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from carnet_agent.bus.reader import BusReader
from carnet_agent.bus.socketcan import RECEIVE_BUFFER_BYTES, CanInterface, SocketReader
from carnet_agent.dbc.plan import Match

SOCKETCAN = "socketcan"


@dataclass(frozen=True, slots=True)
class BusConfig:
    """One bus of the unit."""

    channel: str
    """The interface (can0), port (/dev/ttyACM0) or address that the adapter is reached by."""
    interface: str = SOCKETCAN
    """``socketcan``, or the name of a python-can interface."""
    match: Match = "id"
    """How messages are told apart: by identifier, or by J1939 parameter group."""
    receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES
    """SocketCAN only: room in the kernel for frames between two drains."""
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Handed to python-can as they are, such as ``bitrate``; listen-only cannot be switched off here."""


def open_bus(config: BusConfig, bus: int, name: str = "") -> BusReader:
    """A reader of this bus, whose frames carry the number ``bus``; ConfigError if this machine cannot have one."""
    if config.interface == SOCKETCAN:
        return SocketReader(CanInterface(config.channel, config.receive_buffer_bytes), bus, config.match)
    from carnet_agent.bus.pythoncan import PythonCanReader, open_adapter

    connect = open_adapter(config.interface, config.channel, config.options)
    return PythonCanReader(connect, bus, config.match, name=name).start()
