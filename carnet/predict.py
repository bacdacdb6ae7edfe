"""What a run of integers is predicted from: what is left over is small, and small numbers cost few bits.

Four modes: nothing (RAW), the value before (DELTA), the straight line through the two before (LINE), or the value
before plus the step that the previous run made in the same place (TWIN). Law: integers wrap at 64 bits in both
directions, so that every mode is lossless for every run. ``docs/batch-format.md`` says the same in formulas.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carnet import rice

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

RAW, DELTA, LINE, TWIN = 0, 1, 2, 3
_ONE: Final = np.uint64(1)
_NEIGHBOURS: Final = (-1, 0, 1)


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

    def coded(self, modes: Int64) -> Int64:
        """How many numbers of each run are not heads."""
        return self.lengths - 1 - self.has_second(modes)


class Choice(NamedTuple):
    """How a batch is written."""

    modes: Int64
    """Per run."""
    levels: Int64
    """Per run 0 if nothing is left over, else k + 1."""
    heads: UInt64
    """Zigzag, in the order of the runs."""
    rest: UInt64
    """Zigzag, all numbers that are not heads, of the runs whose level is not 0."""
    k: UInt64
    """For each number of ``rest``."""


def choose(x: Int64, runs: Runs) -> Choice:
    """The cheapest mode and k of every run."""
    residuals, heads, steps = _residuals(x, runs)
    k, cost = _costs(residuals, runs)
    cost += np.log2(heads.astype(np.float64) + 1.0)
    cost[LINE] += np.log2(steps.astype(np.float64) + 1.0)
    cost[TWIN, ~runs.has_twin()] = np.inf
    modes = cost.argmin(axis=0)
    order = np.arange(len(modes))
    chosen = residuals.ravel()[np.repeat(modes * len(x), runs.lengths) + np.arange(len(x))]
    left = np.maximum.reduceat(chosen, runs.starts) > 0
    fine = _refined(chosen, k[modes, order], runs)
    second = runs.has_second(modes)
    coded = np.repeat(left, runs.lengths)
    coded[runs.starts] = False
    coded[runs.starts[second] + 1] = False
    return Choice(
        modes,
        np.where(left, fine + 1, 0),
        _in_order(heads[modes, order], steps, second),
        chosen[coded],
        np.repeat(fine, runs.lengths)[coded].view(np.uint64),
    )


def restore(runs: Runs, modes: Int64, heads: UInt64, rest: UInt64, coded: Mask) -> Int64:
    """The integers of all runs; ``coded`` marks the places of ``rest``, the others are heads or zero."""
    second = runs.has_second(modes)
    places = np.arange(len(modes)) + second.cumsum() - second
    residuals = np.zeros(len(coded), np.uint64)
    residuals[coded] = rest
    x = unzigzag(residuals)
    if second.any():
        x[runs.starts[second] + 1] = unzigzag(heads[places[second] + 1])
        _sum(x, runs, modes == LINE)
    x[runs.starts] = unzigzag(heads[places])
    _sum(x, runs, modes != RAW)
    _add_twins(x, runs, modes == TWIN)
    return x


def _residuals(x: Int64, runs: Runs) -> tuple[UInt64, UInt64, UInt64]:
    """(4, n) residuals of all modes, zero in the place of heads; (4, R) first heads; (R,) second heads of LINE."""
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
    return zigzag(rows), zigzag(heads), zigzag(first_steps)


def _costs(residuals: UInt64, runs: Runs) -> tuple[Int64, Float64]:
    """(4, R) a good k, and the bits that it costs."""
    sums = np.add.reduceat(residuals.astype(np.float64), runs.starts, axis=1)
    k = rice.near_best(sums, runs.lengths)
    quotients = residuals >> np.repeat(k, runs.lengths, axis=1).view(np.uint64)
    bits = np.add.reduceat(quotients, runs.starts, axis=1) + (k + 1) * runs.lengths.astype(np.float64)
    return k, np.where(sums > 0, bits, 0.0)


def _refined(chosen: UInt64, k: Int64, runs: Runs) -> Int64:
    """The best of k and its neighbours: one large number among small ones misleads the estimate."""
    tries = np.stack([(k + near).clip(0, rice.K_MAX) for near in _NEIGHBOURS])
    quotients = chosen >> np.repeat(tries, runs.lengths, axis=1).view(np.uint64)
    bits = np.add.reduceat(quotients, runs.starts, axis=1) + tries * runs.lengths.astype(np.float64)
    best: Int64 = tries[bits.argmin(axis=0), np.arange(len(k))]
    return best


def _in_order(heads: UInt64, steps: UInt64, second: Mask) -> UInt64:
    """First heads, each followed by the second one where there is one."""
    places = np.arange(len(heads)) + second.cumsum() - second
    found = np.empty(len(heads) + int(second.sum()), np.uint64)
    found[places] = heads
    found[places[second] + 1] = steps[second]
    return found


def _sum(x: Int64, runs: Runs, chosen: Mask) -> None:
    """Replace the chosen runs by their running sums, beginning anew in every run."""
    lengths = runs.lengths[chosen]
    if len(lengths) == 0:
        return
    where = np.repeat(chosen, runs.lengths)
    steps = x[where]
    sums = steps.cumsum()
    starts = lengths.cumsum() - lengths
    x[where] = sums - np.repeat(sums[starts] - steps[starts], lengths)


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
