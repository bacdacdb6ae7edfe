"""Frames as the kernel's structures, compared with the layout in its header files."""

from __future__ import annotations

import struct

import can
import numpy as np
import pytest

from carnet_simulator.dbcs import demo_databases
from carnet_simulator.frames import drive
from carnet_simulator.wire import pack_block, pack_message, unpack_message


def test_a_block_is_one_can_frame_after_the_other() -> None:
    """Identifier with its format flag, length, three bytes of padding, eight of data."""
    block = drive(demo_databases(), 1).frames_until(1000)
    packed = pack_block(block)
    assert len(packed) == 16 * len(block)
    for row, (identifier, length, data) in enumerate(struct.iter_unpack("=IB3x8s", packed)):
        assert identifier == int(block.can_id[row]) | (0x8000_0000 if block.extended[row] else 0)
        assert length == block.length[row] and data == block.payload[row].tobytes()
    assert np.frombuffer(packed, np.uint8).reshape(-1, 16)[:, 5:8].any() == np.False_


@pytest.mark.parametrize(
    "message, packed",
    [
        (can.Message(arbitration_id=0x123, is_extended_id=False, data=b"\x01\x02"), "23010000020000000102000000000000"),
        (can.Message(arbitration_id=0x123, is_extended_id=True, data=b""), "23010080000000000000000000000000"),
        (
            can.Message(arbitration_id=5, is_extended_id=False, is_fd=True, bitrate_switch=True, data=b"\xff" * 12),
            "050000000c050000" + "ff" * 12 + "00" * 52,
        ),
        (can.Message(arbitration_id=5, is_fd=True, error_state_indicator=True), "0500008000060000" + "00" * 64),
    ],
)
def test_a_message_is_packed_and_comes_back(message: can.Message, packed: str) -> None:
    """Classic and FD, both identifiers, flags of FD."""
    frame = pack_message(message)
    assert frame.hex() == packed
    back = unpack_message(frame)
    assert back.equals(message, timestamp_delta=None, check_channel=False)
