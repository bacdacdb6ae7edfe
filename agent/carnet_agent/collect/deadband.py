"""Changes: samples that differ from the last emitted one, by a dead-band or at all; with a rate the newest waits.

Law: a suppressed change is emitted with its own capture time when the interval ends, or with its column, unless the
value came back; never sooner, however many windows close meanwhile: the rate is what the owner agreed to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from carnet_agent.collect.exact import floats, fraction
from carnet_agent.dbc.plan import SignalInfo

Int64 = NDArray[np.int64]
Samples = tuple[Int64, Int64]
"""Times in milliseconds, values."""
Order = Literal["signed", "unsigned", "float"]
NOTHING: Int64 = np.empty(0, np.int64)
_STRETCH = 16
"""Samples looked at first when the next change is sought; doubled until it is found."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What counts as a change of a column's values."""

    order: Order
    threshold: int
    """Least distance of integers; 1 is any difference."""
    band: float = 0.0
    """Least distance of floats in raw values; 0 is any difference of bits."""
    info: SignalInfo | None = None
    """Of a float signal."""

    @classmethod
    def of(cls, info: SignalInfo, dead_band: str | None, step: Fraction | None) -> Difference:
        """Of a signal as it is (``step`` None) or of multiples of a step."""
        if info.is_float and step is None:
            scale = abs(float(info.factor))
            return cls("float", 1, float(dead_band) / scale if dead_band and scale else 0.0, info)
        factor = abs(fraction(info.factor)) if step is None else step
        threshold = max(1, ceil(fraction(dead_band) / factor)) if dead_band and factor else 1
        return cls("unsigned" if step is None and info.kind == "uint" else "signed", min(threshold, 2**64 - 1))

    @property
    def is_any(self) -> bool:
        """Every other value is a change."""
        return self.threshold == 1 and self.band == 0.0

    def from_last(self, values: Int64, last: np.int64) -> NDArray[np.bool_]:
        """Which values are changes after ``last``."""
        if self.is_any:
            return np.asarray(values != last)
        if self.info is not None:
            distance: NDArray[Any] = np.abs(floats(self.info, values) - floats(self.info, np.array([last])))
            return np.asarray(distance >= self.band)
        # the distance of two 64-bit integers always fits into 64 bits without a sign
        ordered, before = (values.view(np.uint64), last.view(np.uint64)) if self.order == "unsigned" else (values, last)
        distance = np.where(ordered > before, values - last, last - values).view(np.uint64)
        return np.asarray(distance >= np.uint64(self.threshold))

    def next(self, values: Int64, start: int, last: np.int64 | None) -> int:
        """Position of the first change from ``start`` on; the number of values if there is none."""
        if last is None:
            return start
        size = _STRETCH
        while start < len(values):
            changed = self.from_last(values[start : start + size], last)
            at = int(changed.argmax())
            if changed[at]:
                return start + at
            start, size = start + size, size * 2
        return len(values)


@dataclass(slots=True)
class Changes:
    """The state of a column that emits changes; ``interval_ms`` 0: all of them."""

    difference: Difference
    interval_ms: int
    free_ms: int
    last: np.int64 | None = None
    """The last emitted value."""
    pending: tuple[int, np.int64] | None = field(default=None)
    """Time and value of a change that waits for the end of the interval."""

    def keep(self, time_ms: Int64, values: Int64) -> Samples:
        """What is emitted at these samples; times do not fall."""
        if not len(values):
            return NOTHING, NOTHING
        return self._at_rate(time_ms, values) if self.interval_ms else self._all(time_ms, values)

    def advance(self, now_ms: int) -> Samples:
        """The pending sample if its interval has ended by now; every sample captured before now was kept already."""
        return self.release() if self.pending is not None and self.free_ms <= now_ms else (NOTHING, NOTHING)

    def release(self) -> Samples:
        """The pending sample: its interval has ended, or its column ends."""
        if self.pending is None:
            return NOTHING, NOTHING
        time_ms, value = self._emit_pending(self.pending)
        return np.array([time_ms], np.int64), np.array([value], np.int64)

    def _all(self, time_ms: Int64, values: Int64) -> Samples:
        if self.difference.is_any:
            changed = np.empty(len(values), bool)
            changed[0] = self.last is None or values[0] != self.last
            np.not_equal(values[1:], values[:-1], out=changed[1:])
            kept = changed.nonzero()[0]
        else:
            places, last = [], self.last
            at = self.difference.next(values, 0, last)
            while at < len(values):
                places.append(at)
                last = values[at]
                at = self.difference.next(values, at + 1, last)
            kept = np.array(places, np.intp)
        if len(kept):
            self.last = values[kept[-1]]
        return time_ms.take(kept), values.take(kept)

    def _at_rate(self, time_ms: Int64, values: Int64) -> Samples:
        stretch = _stretch_starts(values)
        times: list[int] = []
        kept: list[np.int64] = []
        at = 0
        while True:
            end = max(at, int(time_ms.searchsorted(self.free_ms)))
            if end > at:
                self._suppress(time_ms, values, stretch, at, end)
            if end == len(values):
                break
            at = end
            if self.pending is not None:
                time, value = self._emit_pending(self.pending)
            else:
                at = self.difference.next(values, at, self.last)
                if at == len(values):
                    break
                time, value = int(time_ms[at]), values[at]
                self.last, self.free_ms = value, time + self.interval_ms
                at += 1
            times.append(time)
            kept.append(value)
        return np.array(times, np.int64), np.array(kept, np.int64)

    def _suppress(self, time_ms: Int64, values: Int64, stretch: NDArray[np.intp], at: int, end: int) -> None:
        """Samples ``at`` to ``end`` come too early: the last one tells what is pending."""
        newest = values[end - 1]
        if self.last is not None and not self.difference.from_last(values[end - 1 : end], self.last)[0]:
            self.pending = None
            return
        since = max(int(stretch[end - 1]), at)
        if since == at and self.pending is not None and self.pending[1] == newest:
            return
        self.pending = int(time_ms[since]), newest

    def _emit_pending(self, pending: tuple[int, np.int64]) -> tuple[int, np.int64]:
        self.pending = None
        self.last = pending[1]
        self.free_ms += self.interval_ms
        return pending


def _stretch_starts(values: Int64) -> NDArray[np.intp]:
    """For every sample the first one of the stretch of equal values that it lies in."""
    starts = np.zeros(len(values), np.intp)
    differs = (values[1:] != values[:-1]).nonzero()[0] + 1
    starts[differs] = differs
    return np.maximum.accumulate(starts)
