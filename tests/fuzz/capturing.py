"""Captures for their targets: seeds as python-can writes them, and what the blocks of every reader hold to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import can
import numpy as np

from carnet.errors import CaptureError
from carnet_agent.captures.capture import BUSES_MAX, FRAMES_MAX, LOSSES_KEPT, Capture
from carnet_agent.frames import CLASSIC_WIDTH, EXTENDED, FD

_folder = tempfile.TemporaryDirectory()
FOLDER = Path(_folder.name)


def messages() -> list[can.Message]:
    """Every kind of frame."""
    kinds: list[dict[str, Any]] = [
        {"arbitration_id": 0x123, "data": b"\1\2\3", "is_extended_id": False},
        {"arbitration_id": 0x1CFFABCD, "data": b"\xff" * 8},
        {"arbitration_id": 0x7FF, "is_extended_id": False},
        {"arbitration_id": 0x18DAF110, "data": bytes(range(64)), "is_fd": True, "bitrate_switch": True},
        {"arbitration_id": 0x18DAF111, "data": bytes(12), "is_fd": True, "error_state_indicator": True},
        {"arbitration_id": 0x7E8, "is_remote_frame": True, "dlc": 2, "is_extended_id": False},
        {"is_error_frame": True},
    ]
    return [can.Message(timestamp=1622547830.5 + n / 64, channel=n % 2, **kind) for n, kind in enumerate(kinds)]


def written(suffix: str, fd: bool = True, **options: Any) -> bytes:
    """A file of all messages; not every format has CAN FD."""
    path = FOLDER / f"seed{suffix}"
    with can.Logger(path, **options) as logger:
        for message in messages():
            if fd or not (message.is_fd or message.is_error_frame):
                logger.on_message_received(message)
    return path.read_bytes()


def read(suffix: str, data: bytes) -> Capture | None:
    """The capture after its last block, or None if it was refused; AssertionError for a block that cannot be."""
    path = FOLDER / f"input{suffix}"
    path.write_bytes(data)
    frames = 0
    with Capture(path) as capture:
        try:
            for block in capture.blocks():
                _check(block.frames, capture.buses)
                assert len(block.digits) == len(block.frames)
                frames += len(block.frames)
        except CaptureError:
            return None
    assert frames == capture.counts["frames"]
    assert len(capture.losses) <= LOSSES_KEPT
    assert len(capture.buses) <= BUSES_MAX
    return capture


def _check(frames: Any, buses: Iterable[str]) -> None:
    count = len(frames)
    assert 0 < count <= FRAMES_MAX
    assert frames.bus.max() < len(list(buses))
    assert frames.payload.shape == (count, frames.width)
    assert frames.width in (8, 64)
    assert (frames.length <= np.where(frames.flags & FD, frames.width, CLASSIC_WIDTH)).all()
    assert (frames.can_id <= np.where(frames.flags & EXTENDED, 0x1FFFFFFF, 0x7FF)).all()
    assert not frames.payload[np.arange(frames.width) >= frames.length[:, np.newaxis]].any()
