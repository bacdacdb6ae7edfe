"""Where the simulator's frames go: a virtual CAN interface, or multicast inside this machine where there is none.

Law: nothing is ever sent to a real bus, and nothing leaves the machine.
"""

from __future__ import annotations

import errno
import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import can

from carnet.errors import ConfigError, UnavailableError
from carnet_simulator.wire import unpack_message

GROUP: Final = "239.74.163.2"
"""Multicast group of the fallback; python-can's own example for IPv4."""
PORT: Final = 43113
"""Port of can0's fallback; canN has this plus N."""
MULTICAST: Final = "multicast"
"""Channel of the fallback; ``multicast:PORT`` is another port, so that two cars need not meet."""
OFF: Final = "off"

_VIRTUAL: Final = re.compile(r"vx?can[A-Za-z0-9_.-]*")
_INTERFACES: Final = Path("/sys/class/net")
_RETRY_S: Final = 0.002
_RETRIES_MAX: Final = 500


class Sender(Protocol):
    """An open bus, or one that is switched off."""

    is_off: bool

    def send(self, frame: bytes) -> None:
        """Send one frame (see `carnet_simulator.wire`); UnavailableError ``bus_gone`` if the bus is no longer there."""

    def close(self) -> None:
        """Give the bus back."""


class CanSender:
    """A vcan interface."""

    is_off = False

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened

    def send(self, frame: bytes) -> None:
        """Send one frame, waiting while the interface's queue is full."""
        for _ in range(_RETRIES_MAX):
            try:
                self._socket.send(frame)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise UnavailableError("bus_gone", f"the bus takes no more frames: {error.strerror}") from None
                time.sleep(_RETRY_S)
            else:
                return
        raise UnavailableError("bus_gone", "the bus has taken no frame for a second")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class MulticastSender:
    """python-can's udp_multicast with a hop limit of 0: readers on this machine only."""

    is_off = False

    def __init__(self, port: int) -> None:
        self._bus = can.Bus(interface="udp_multicast", channel=GROUP, port=port, hop_limit=0)

    def send(self, frame: bytes) -> None:
        """Send one frame."""
        try:
            self._bus.send(unpack_message(frame))
        except (can.CanError, OSError) as error:
            raise UnavailableError("bus_gone", f"multicast takes no more frames: {error}") from None

    def close(self) -> None:
        """Leave the group."""
        self._bus.shutdown()


class NoSender:
    """A bus that is switched off."""

    is_off = True

    def send(self, frame: bytes) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def bus_number(bus: str) -> int:
    """N of canN; 0 for another name."""
    digits = bus.removeprefix("can")
    return int(digits) if digits.isdigit() else 0


def parse_channels(texts: list[str]) -> dict[str, str]:
    """From ``[BUS=]CHANNEL`` texts: bus -> channel; without a bus it is can0's. ConfigError ``channel_twice``."""
    found: dict[str, str] = {}
    for text in texts:
        bus, equals, channel = text.partition("=")
        if not equals:
            bus, channel = "can0", text
        if bus in found or not channel or not bus:
            raise ConfigError("channel_twice", f"'{text}': write one --channel BUS=CHANNEL for each bus")
        found[bus] = channel
    return found


def open_sender(bus: str, channels: Mapping[str, str], say: Callable[[str], None]) -> Sender:
    """Open the channel of a bus.

    ``channels`` as of `parse_channels`; if it is empty canN goes to vcanN, or to multicast where that is absent;
    otherwise buses that it does not name are off, and an interface that it names and that is absent is
    UnavailableError ``bus_absent``. ``say`` gets the sentences that tell where the frames go. ConfigError
    ``bus_not_virtual`` for any other interface.
    """
    if channels and bus not in channels:
        say(f"{bus}: off, for --channel does not name it")
    channel = channels.get(bus, OFF) if channels else f"v{bus}"
    if channel == OFF:
        return NoSender()
    if channel == MULTICAST:
        return _multicast(bus, say)
    if channel.startswith(f"{MULTICAST}:"):
        return _multicast(bus, say, _port(channel))
    # The name alone would do for an attacker, sysfs alone for slcan; both together mean a bus without a wire.
    place = _INTERFACES / channel
    if not _VIRTUAL.fullmatch(channel) or (place.exists() and "/virtual/" not in str(place.resolve())):
        raise ConfigError(
            "bus_not_virtual",
            f"'{channel}' is not a virtual CAN interface; the simulator writes to vcan… or vxcan… only. Make one with: "
            f"{_making(f'vcan{bus_number(bus)}')}, and name that",
        )
    opened, why = _open(channel)
    if opened is not None:
        say(f"{bus}: {channel}")
        return CanSender(opened)
    if channels:
        raise UnavailableError("bus_absent", f"{bus}: {why}")
    say(f"{bus}: {why}")
    return _multicast(bus, say)


def _open(channel: str) -> tuple[socket.socket | None, str]:
    """A socket of the interface, or none and why."""
    try:
        opened = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
    except (OSError, AttributeError):
        return None, f"there is no {channel}, for this machine's kernel has no CAN; where it has: {_making(channel)}"
    try:
        opened.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FD_FRAMES, 1)
        opened.bind((channel,))
    except OSError:
        opened.close()
        return None, f"{channel} is absent; make it with: {_making(channel)}"
    return opened, ""


def _making(channel: str) -> str:
    return f"ip link add dev {channel} type vcan && ip link set up {channel}"


def _port(channel: str) -> int:
    digits = channel.partition(":")[2]
    if not digits.isdecimal() or not 1024 <= int(digits) <= 65_535:
        raise ConfigError("channel_port", f"'{channel}': write multicast:PORT with a port from 1024 to 65535")
    return int(digits)


def _multicast(bus: str, say: Callable[[str], None], port: int | None = None) -> Sender:
    port = PORT + bus_number(bus) if port is None else port
    try:
        sender = MulticastSender(port)
    except (can.CanError, OSError, ImportError) as error:
        raise UnavailableError("no_bus", f"{bus}: neither vcan nor multicast can be used here: {error}") from None
    say(f"{bus}: python-can's udp_multicast, channel {GROUP}, port {port}, inside this machine only")
    return sender
