"""Reassemble ISO-TP messages (ISO 15765-2) from frames, listening only, before they are decoded.

Law: one message in progress per (bus, identifier); whatever is not a whole message in the right order and in time is
dropped and counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from carnet_agent.dbc.plan import Plan
from carnet_agent.frames import CLASSIC_WIDTH, EXTENDED, Frames

SIZE_BYTES_MAX = 4095
"""Largest message that is followed; a longer one is refused at its first frame."""
TIMEOUT_NS = 1_000_000_000
"""N_Cr of ISO 15765-2: the longest pause before the next consecutive frame."""
SINGLE, FIRST, CONSECUTIVE, FLOW_CONTROL = range(4)


@dataclass(slots=True)
class _Progress:
    """A message of which more frames are to come."""

    size: int
    data: bytearray
    sequence: int
    time_ns: int


class Reassembler:
    """Turns blocks of frames into blocks in which ISO-TP messages stand whole, at the place of their last frame."""

    def __init__(self, plan: Plan) -> None:
        self._width = plan.width
        self._any_bus = len(plan.buses)
        self._with_length = {(item.bus, item.can_id, item.extended): item.with_length for item in plan.transported}
        self._ids = np.unique(np.array([item.can_id for item in plan.transported], np.uint32))
        self._progress: dict[tuple[int, int, bool], _Progress] = {}
        self.counts: Counter[str] = Counter()
        """``messages`` reassembled from several frames, ``single``, ``flow_control``, and refusals by reason."""

    def feed(self, frames: Frames) -> tuple[Frames, NDArray[np.intp]]:
        """The block with whole messages, and for each row the frame of the given block that completed it.

        Frames that are not ISO-TP pass unchanged. Payloads are cut to what the plan can use.
        """
        keep = np.ones(len(frames), bool)
        whole: dict[int, bytes] = {}
        for position in np.isin(frames.can_id, self._ids).nonzero()[0].tolist():
            extended = bool(frames.flags[position] & EXTENDED)
            bus, can_id = int(frames.bus[position]), int(frames.can_id[position])
            with_length = self._with_length.get((min(bus, self._any_bus), can_id, extended))
            if with_length is None:
                continue
            data = frames.payload[position, : int(frames.length[position])].tobytes()
            message = self._frame((bus, can_id, extended), data, int(frames.time_ns[position]))
            if message is None:
                keep[position] = False
            elif not (with_length and data[0] >> 4 == SINGLE):
                # A single frame that is described with its length byte stays as it is, padding included.
                whole[position] = bytes([len(message) & 0xFF]) + message if with_length else message
        kept = keep.nonzero()[0]
        return self._with_messages(frames.take(kept), kept, whole), kept

    def finish(self) -> None:
        """The capture is over: count what never became whole."""
        self.counts["incomplete"] += len(self._progress)
        self._progress.clear()

    def _with_messages(self, frames: Frames, kept: NDArray[np.intp], whole: dict[int, bytes]) -> Frames:
        if not whole:
            return frames
        width = max(self._width, frames.width)
        frames = frames.widened(width)
        length, payload = frames.length.copy(), frames.payload.copy()
        for row, position in zip(kept.searchsorted(list(whole)).tolist(), whole, strict=True):
            data = whole[position][:width]
            length[row] = len(data)
            payload[row] = np.frombuffer(data.ljust(width, b"\0"), np.uint8)
        return replace(frames, length=length, payload=payload)

    def _frame(self, key: tuple[int, int, bool], data: bytes, time_ns: int) -> bytes | None:
        """The message that this frame completes, if it does."""
        kind = data[0] >> 4 if data else -1
        if kind == FLOW_CONTROL:
            self.counts["flow_control"] += 1
            return None
        if kind == CONSECUTIVE:
            return self._consecutive(key, data, time_ns)
        if kind not in (SINGLE, FIRST):
            self.counts["unknown_frame_kind"] += 1
            return None
        if self._progress.pop(key, None):
            self.counts["interrupted"] += 1
        if kind == SINGLE:
            return self._single(data)
        self._first(key, data, time_ns)
        return None

    def _single(self, data: bytes) -> bytes | None:
        size, start = data[0] & 0x0F, 1
        if size == 0 and len(data) > CLASSIC_WIDTH:
            # CAN FD: the length stands in the second byte.
            size, start = data[1], 2
        if not size or start + size > len(data) or (start == 1 and size > 7):
            self.counts["bad_length"] += 1
            return None
        self.counts["single"] += 1
        return data[start : start + size]

    def _first(self, key: tuple[int, int, bool], data: bytes, time_ns: int) -> None:
        size, start = int.from_bytes(data[:2], "big") & 0xFFF, 2
        if size == 0:
            size, start = int.from_bytes(data[2:6], "big"), 6
        if len(data) < CLASSIC_WIDTH or size <= len(data) - start:
            self.counts["bad_length"] += 1
        elif size > SIZE_BYTES_MAX:
            self.counts["oversize"] += 1
        else:
            self._progress[key] = _Progress(size, bytearray(data[start:]), 1, time_ns)

    def _consecutive(self, key: tuple[int, int, bool], data: bytes, time_ns: int) -> bytes | None:
        progress = self._progress.get(key)
        if progress is None:
            self.counts["unexpected_consecutive"] += 1
            return None
        missing = progress.size - len(progress.data)
        reason = ""
        if not 0 <= time_ns - progress.time_ns <= TIMEOUT_NS:
            reason = "timeout"
        elif data[0] & 0x0F != progress.sequence:
            reason = "wrong_sequence"
        elif len(data) - 1 < min(missing, CLASSIC_WIDTH - 1):
            reason = "bad_length"
        if reason:
            self.counts[reason] += 1
            del self._progress[key]
            return None
        progress.data += data[1 : 1 + missing]
        progress.sequence = (progress.sequence + 1) & 0x0F
        progress.time_ns = time_ns
        if len(progress.data) < progress.size:
            return None
        del self._progress[key]
        self.counts["messages"] += 1
        return bytes(progress.data)
