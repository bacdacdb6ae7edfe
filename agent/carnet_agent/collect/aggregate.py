"""Aggregates: one row per window of BOOTTIME, in exact integers.

Law: the time of a row and the length of the window tell its whole capture interval; nothing of it lies outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carnet_agent.collect.exact import INT64_MAX

MEAN_PARTS: Final = 1000
"""A mean without ``round`` is told in thousandths of the step."""

Int64 = NDArray[np.int64]
Row = tuple[int, tuple[int, ...]]
"""Time in milliseconds, one integer per field."""


@dataclass(slots=True)
class _Open:
    """The window that samples come into: number and what was seen."""

    number: int
    count: int
    total: int
    smallest: int
    largest: int
    first: int
    last: int

    def add(self, later: _Open) -> None:
        self.count += later.count
        self.total += later.total
        self.smallest = min(self.smallest, later.smallest)
        self.largest = max(self.largest, later.largest)
        self.last = later.last


@dataclass(slots=True)
class Windows:
    """The state of one aggregate."""

    window_ms: int
    fields: tuple[str, ...]
    mean_parts: int
    """Parts of a step that a mean is told in."""
    overflowed: int = 0
    """Rows dropped because a number did not fit."""
    _open: _Open | None = field(default=None)

    def add(self, time_ms: Int64, values: Int64) -> list[Row]:
        """The rows of windows that these samples close; times do not fall."""
        if not len(values):
            return []
        number = time_ms // self.window_ms
        starts = np.concatenate(([0], (number[1:] != number[:-1]).nonzero()[0] + 1))
        rows: list[Row] = []
        for one in _summaries(number, values, starts):
            if self._open is not None and self._open.number == one.number:
                self._open.add(one)
                continue
            rows += self._row(None)
            self._open = one
        return rows

    def advance(self, now_ms: int) -> list[Row]:
        """The row of a window whose end has come; every sample captured before now was added already."""
        ended = self._open is not None and (self._open.number + 1) * self.window_ms <= now_ms
        return self._row(None) if ended else []

    def close(self, now_ms: int) -> list[Row]:
        """The row of the open window, as the column ends."""
        return self._row(now_ms)

    def _row(self, now_ms: int | None) -> list[Row]:
        one, self._open = self._open, None
        if one is None:
            return []
        begin, end = one.number * self.window_ms, (one.number + 1) * self.window_ms
        time_ms = end if now_ms is None else min(end, max(now_ms, begin + 1))
        values = tuple(self._field(one, name) for name in self.fields)
        if any(abs(value) > INT64_MAX for value in values):
            self.overflowed += 1
            return []
        return [(time_ms, values)]

    def _field(self, one: _Open, name: str) -> int:
        if name == "mean":
            return (2 * self.mean_parts * one.total + one.count) // (2 * one.count)
        return {
            "min": one.smallest,
            "max": one.largest,
            "count": one.count,
            "first": one.first,
            "last": one.last,
            "sum": one.total,
        }[name]


def _summaries(number: Int64, values: Int64, starts: NDArray[np.intp]) -> list[_Open]:
    """One per stretch of samples of one window."""
    ends = np.append(starts[1:], len(values))
    columns = (
        number[starts],
        ends - starts,
        np.minimum.reduceat(values, starts),
        np.maximum.reduceat(values, starts),
        values[starts],
        values[ends - 1],
    )
    totals = _totals(values, starts)
    rows = zip(*(column.tolist() for column in columns), totals, strict=True)
    return [_Open(k, n, total, low, high, first, last) for k, n, low, high, first, last, total in rows]


def _totals(values: Int64, starts: NDArray[np.intp]) -> list[int]:
    largest = max(abs(int(values.min())), abs(int(values.max())))
    if largest * len(values) <= INT64_MAX:
        return list(np.add.reduceat(values, starts).tolist())
    return [sum(part.tolist()) for part in np.split(values, starts[1:])]
