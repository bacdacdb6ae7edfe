"""Whatever the frames, the messages that come out are those of the standard, however the frames are cut into blocks.

A frame is a byte that chooses identifier and pause, a byte of length, and so many bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from carnet_agent.frames import Frames
from carnet_agent.isotp import SIZE_BYTES_MAX, TIMEOUT_NS, Reassembler
from tests.agent.blocks import frames_of, plan_of
from tests.agent.test_isotp import DBC, segment

SIZE_MAX = 512
RUNS = 400
PLAN = plan_of(DBC, "isotp")
IDS = ((0x7E8, False), (0x7E9, False), (0x18DAF110, True), (0x200, False))
WITH_LENGTH, ORDINARY = 0, 3
"""Places in `IDS`: what the DBC describes with its length byte, and what is no diagnostics."""


def seeds() -> Iterable[bytes]:
    for size in (3, 7, 8, 40, 200):
        frames = segment(bytes(range(size)))
        yield b"".join(bytes([number % 3, len(frame)]) + frame for number in (0, 1) for frame in frames)
    yield b"\x01\x08\x10\x00\x00\x00\x00\x09abc\x01\x08\x21abcdefg"
    yield b"\x01\x40\x00\x20" + bytes(62)
    yield b"\x01\x03\x30\x00\x00" + b"\x43\x08\x10\x14abcdef" * 2


def check(data: bytes) -> None:
    rows = list(_rows(data))
    if not rows:
        return
    # the upper bits of the first byte are the pause before the frame, half a second each
    times = np.array([(chosen >> 2 & 7) * TIMEOUT_NS // 2 for chosen, _ in rows], np.int64).cumsum()
    block = frames_of([(IDS[chosen & 3][0], payload) for chosen, payload in rows], [IDS[c & 3][1] for c, _ in rows])
    block.time_ns[:] = times
    expected = list(_by_the_standard(rows, times.tolist()))
    for at_once in (1, len(rows)):
        found, counts = _fed(block, at_once)
        assert found == [(number, message[: max(PLAN.width, block.width)]) for number, message in expected]
        assert len(found) == sum(chosen & 3 == ORDINARY for chosen, _ in rows) + counts["messages"] + counts["single"]


def _by_the_standard(rows: Sequence[tuple[int, bytes]], times: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """(frame, message) of all that comes out, told once more and slowly."""
    begun: dict[int, tuple[int, bytes, int, int]] = {}
    for number, ((chosen, data), now) in enumerate(zip(rows, times, strict=True)):
        which, kind = chosen & 3, data[0] >> 4 if data else None
        if which == ORDINARY:
            yield number, data
        elif kind == 0:
            begun.pop(which, None)
            head, size = (2, data[1]) if data[0] == 0 and len(data) > 8 else (1, data[0])
            if 1 <= size <= (7 if head == 1 else 255) and head + size <= len(data):
                yield number, data if which == WITH_LENGTH else data[head : head + size]
        elif kind == 1:
            begun.pop(which, None)
            size, head = int.from_bytes(data[:2], "big") - 0x1000, 2
            if size == 0:
                size, head = int.from_bytes(data[2:6], "big"), 6
            if len(data) >= 8 and len(data) - head < size <= SIZE_BYTES_MAX:
                begun[which] = size, data[head:], 1, now
        elif kind == 2 and which in begun:
            size, so_far, turn, last = begun.pop(which)
            left = size - len(so_far)
            if now - last <= TIMEOUT_NS and data[0] & 15 == turn and len(data) > min(left, 7):
                so_far += data[1 : 1 + left]
                if len(so_far) < size:
                    begun[which] = size, so_far, (turn + 1) % 16, now
                else:
                    yield number, bytes([size & 255] if which == WITH_LENGTH else []) + so_far


def _fed(block: Frames, at_once: int) -> tuple[list[tuple[int, bytes]], dict[str, int]]:
    """(frame and message of all that came out, counts)."""
    reassembler = Reassembler(PLAN)
    found = []
    for start in range(0, len(block), at_once):
        frames, kept = reassembler.feed(block.take(slice(start, start + at_once)))
        assert frames.length.max(initial=0) <= frames.width
        for row, position in enumerate(kept.tolist()):
            found.append((start + position, frames.payload[row, : int(frames.length[row])].tobytes()))
    reassembler.finish()
    return found, reassembler.counts


def _rows(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 1 < len(data):
        size = data[at + 1] % 65
        yield data[at], data[at + 2 : at + 2 + size]
        at += 2 + size
