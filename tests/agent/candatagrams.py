"""CAN frames in datagrams: a bus for machines whose kernel has no CAN.
The reader under test cannot tell the difference.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from carnet_agent.bus.filters import ERROR_FLAG, EXTENDED_FLAG, REMOTE_FLAG, Filter
from carnet_agent.bus.socketcan import RECEIVE_BUFFER_BYTES, prepare


def classic(can_id: int, data: bytes = b"", *, extended: bool = False, remote: bool = False) -> bytes:
    """A ``struct can_frame``."""
    flags = (EXTENDED_FLAG if extended else 0) | (REMOTE_FLAG if remote else 0)
    return struct.pack("=IB3x8s", can_id | flags, len(data), data)


def flexible(can_id: int, data: bytes = b"", *, extended: bool = False, brs: bool = False, esi: bool = False) -> bytes:
    """A ``struct canfd_frame``, with the FDF flag as newer kernels set it."""
    flags = EXTENDED_FLAG if extended else 0
    return struct.pack("=IBB2x64s", can_id | flags, len(data), brs | esi << 1 | 4, data)


def error(classes: int) -> bytes:
    """An error frame as a controller's driver makes it."""
    return struct.pack("=IB3x8s", classes | ERROR_FLAG, 8, b"\0" * 8)


class DatagramSource:
    """A UDP socket on loopback; remembers the filters it was given, which only a CAN socket could put in force."""

    def __init__(self, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self.receive_buffer_bytes = receive_buffer_bytes
        self.filters: Sequence[Filter] | None = None
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.opened: socket.socket | None = None
        self.refuse: OSError | None = None

    def open(self, filters: Sequence[Filter]) -> socket.socket:
        if self.refuse is not None:
            raise self.refuse
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        prepare(opened, self.receive_buffer_bytes)
        opened.bind(("127.0.0.1", 0))
        self.sender.connect(opened.getsockname())
        self.filters, self.opened = filters, opened
        return opened

    def filter(self, opened: socket.socket, filters: Sequence[Filter]) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.filters = filters

    def send(self, *frames: bytes) -> None:
        """Put frames on the bus; on loopback they are in the reader's queue when this returns."""
        for frame in frames:
            self.sender.send(frame)

    def close(self) -> None:
        self.sender.close()
