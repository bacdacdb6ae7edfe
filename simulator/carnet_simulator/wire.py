"""CAN frames as the kernel's structures: the one form in which the simulator hands frames to a bus.

Law: 16 bytes are a classic frame, 72 a CAN FD frame; nothing else exists.
"""

from __future__ import annotations

import struct
from typing import Final

import can
import numpy as np

from carnet_simulator.block import Block

EXTENDED_FLAG: Final = 0x8000_0000
CLASSIC_BYTES: Final = 16
_FD_FORMAT, _BRS, _ESI = 0x04, 0x01, 0x02
_CLASSIC: Final = np.dtype([("can_id", "=u4"), ("length", "u1"), ("pad", "u1", 3), ("payload", "u1", 8)])
_HEADER: Final = struct.Struct("=IBBxx")


def pack_block(block: Block) -> bytes:
    """``struct can_frame`` after ``struct can_frame``, 16 bytes each."""
    packed = np.zeros(len(block), _CLASSIC)
    packed["can_id"] = block.can_id | np.where(block.extended, np.uint32(EXTENDED_FLAG), np.uint32(0))
    packed["length"] = block.length
    packed["payload"] = block.payload
    return packed.tobytes()


def pack_message(message: can.Message) -> bytes:
    """``struct can_frame`` or ``struct canfd_frame`` of a data frame of python-can."""
    identifier = message.arbitration_id | (EXTENDED_FLAG if message.is_extended_id else 0)
    flags = 0
    if message.is_fd:
        flags = _FD_FORMAT | (_BRS if message.bitrate_switch else 0) | (_ESI if message.error_state_indicator else 0)
    room = 64 if message.is_fd else 8
    return _HEADER.pack(identifier, len(message.data), flags) + bytes(message.data).ljust(room, b"\0")


def unpack_message(frame: bytes) -> can.Message:
    """The data frame of python-can that `pack_message` was given, without its time."""
    identifier, length, flags = _HEADER.unpack_from(frame)
    return can.Message(
        arbitration_id=identifier & ~EXTENDED_FLAG,
        is_extended_id=bool(identifier & EXTENDED_FLAG),
        is_fd=len(frame) > CLASSIC_BYTES,
        bitrate_switch=bool(flags & _BRS),
        error_state_indicator=bool(flags & _ESI),
        data=frame[_HEADER.size : _HEADER.size + length],
    )
