"""What a run of integers is predicted from: what is left over is small, and small numbers cost few bits.

Four modes: nothing (RAW), the value before (DELTA), the straight line through the two before (LINE), or the value
before plus the step that the previous run made in the same place (TWIN). Law: integers wrap at 64 bits in both
directions, so that every mode is lossless for every run. ``docs/batch-format.md`` says the same in formulas.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
Mask = NDArray[np.bool_]

RAW, DELTA, LINE, TWIN = 0, 1, 2, 3
_ONE: Final = np.uint64(1)


class Runs(NamedTuple):
    """Where runs lie in one long array; none is empty."""

    starts: Int64
    lengths: Int64

    @staticmethod
    def of(lengths: Int64) -> Runs:
        return Runs(lengths.cumsum() - lengths, lengths)

    def has_twin(self) -> Mask:
        """Whether the run before it is as long."""
        found = np.zeros(len(self.lengths), np.bool_)
        found[1:] = self.lengths[1:] == self.lengths[:-1]
        return found

    def has_second(self, modes: Int64) -> Mask:
        """Whether a run has two heads: its first value and its first step."""
        found: Mask = (modes == LINE) & (self.lengths > 1)
        return found

    def rest(self, modes: Int64) -> Int64:
        """How many numbers of each run are not heads."""
        return self.lengths - 1 - self.has_second(modes)


class Candidates(NamedTuple):
    """Every run in every mode; modes are the first axis."""

    residuals: UInt64
    """(4, n) zigzag, zero in the place of heads."""
    heads: UInt64
    """(4, R) zigzag of the first heads."""
    steps: UInt64
    """(R,) zigzag of the second heads of LINE."""


def candidates(x: Int64, runs: Runs) -> Candidates:
    """What each mode would leave over of these integers."""
    starts, lengths = runs
    rows = np.empty((4, len(x)), np.int64)
    rows[RAW] = x
    rows[RAW, starts] = 0
    steps = rows[DELTA]
    steps[0] = 0
    np.subtract(x[1:], x[:-1], out=steps[1:])
    steps[starts] = 0
    bends = rows[LINE]
    bends[0] = 0
    np.subtract(steps[1:], steps[:-1], out=bends[1:])
    second = starts[lengths > 1] + 1
    bends[starts] = 0
    bends[second] = 0
    twins = (np.arange(len(x)) - np.repeat(lengths, lengths)).clip(0)
    np.subtract(steps, steps[twins], out=rows[TWIN])
    first_steps = np.zeros(len(starts), np.int64)
    first_steps[lengths > 1] = steps[second]
    heads = np.broadcast_to(x[starts], (4, len(starts))).copy()
    heads[TWIN, 1:] -= x[starts[:-1]]
    return Candidates(zigzag(rows), zigzag(heads), zigzag(first_steps))


def restore(runs: Runs, modes: Int64, heads: UInt64, steps: UInt64, residuals: UInt64) -> Int64:
    """The integers of all runs; ``heads`` per run, ``steps`` per second head, ``residuals`` zero in their places."""
    x = unzigzag(residuals)
    second = runs.has_second(modes)
    if second.any():
        x[runs.starts[second] + 1] = unzigzag(steps)
        _sum(x, runs, modes == LINE)
    x[runs.starts] = unzigzag(heads)
    _sum(x, runs, modes != RAW)
    _add_twins(x, runs, modes == TWIN)
    return x


def _sum(x: Int64, runs: Runs, chosen: Mask) -> None:
    """Replace the chosen runs by their running sums, beginning anew in every run."""
    lengths = runs.lengths[chosen]
    if len(lengths) == 0:
        return
    where = np.repeat(chosen, runs.lengths)
    sums = x[where]
    starts = lengths.cumsum() - lengths
    firsts = sums[starts]
    # in its own place: every copy of the largest batch is two megabytes
    sums.cumsum(out=sums)
    sums -= np.repeat(sums[starts] - firsts, lengths)
    x[where] = sums


def _add_twins(x: Int64, runs: Runs, twins: Mask) -> None:
    """Add to every chosen run the run before it, first to last: in a row of twins each leans on a finished one."""
    changes = np.zeros(len(twins) + 1, np.bool_)
    changes[0] = twins[0]
    changes[-1] = twins[-1]
    np.not_equal(twins[1:], twins[:-1], out=changes[1:-1])
    edges = changes.nonzero()[0]
    before = edges[0::2] - 1
    rows = np.array((runs.starts[before], runs.lengths[before], edges[1::2] - before))
    for start, length, count in rows.T.tolist():
        block = x[start : start + count * length].reshape(count, length)
        np.add.accumulate(block, 0, None, block)


def zigzag(values: Int64) -> UInt64:
    """0, -1, 1, -2 … as 0, 1, 2, 3 …"""
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def unzigzag(values: UInt64) -> Int64:
    """The inverse of `zigzag`."""
    return (values >> _ONE).view(np.int64) ^ -(values & _ONE).view(np.int64)
