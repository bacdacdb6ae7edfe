"""How the rest of a run is written: not at all, every value under one k, or only those that are not zero.

A rest that is nearly all zeros (a gear, a door, a fuel gauge) costs a bit a value if each is written, and next to
nothing if the gaps between the others are. Law: the level of a run says which, and the counts that follow from it are
checked before anything is read by them. ``docs/batch-format.md`` says the same in formulas.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carnet import rice
from carnet.errors import FormatError
from carnet.predict import LINE, TWIN, Candidates, Int64, Mask, Runs, UInt64

NOTHING: Final = 0
SPARSE: Final = rice.K_MAX + 2
"""Levels between the two are k + 1."""
_EXTRA_BITS: Final = 16.0
"""What a sparse run says besides: how many values, and their level."""
_NEIGHBOURS: Final = (-1, 0, 1)
_ONE: Final = np.uint64(1)

Float64 = NDArray[np.float64]


class Written(NamedTuple):
    """Runs as they are written."""

    modes: Int64
    levels: Int64
    heads: UInt64
    """All numbers of the section of heads."""
    numbers: UInt64
    """What is Rice-coded, and the k of each."""
    k: UInt64


class Plan(NamedTuple):
    """What the run bytes and heads of several batches say about their bits."""

    heads: UInt64
    """Per run."""
    steps: UInt64
    """Per run with a second head."""
    rest: Int64
    """Per run, how many values have no head."""
    levels: Int64
    values: Int64
    """Per sparse run, how many values are not zero."""
    value_levels: Int64


def choose(found: Candidates, runs: Runs) -> Written:
    """The cheapest mode and level of every run."""
    sums = np.add.reduceat(found.residuals.astype(np.float64), runs.starts, axis=1)
    present = np.add.reduceat(found.residuals != 0, runs.starts, axis=1, dtype=np.int64)
    k, dense = _dense_bits(sums, runs)
    sparse = _sparse_bits(sums, present, runs)
    cost = np.minimum(dense, sparse) + np.log2(found.heads.astype(np.float64) + 1.0)
    cost[LINE] += np.log2(found.steps.astype(np.float64) + 1.0)
    cost[TWIN, ~runs.has_twin()] = np.inf
    modes = cost.argmin(axis=0)
    order = np.arange(len(modes))
    size = found.residuals.shape[1]
    chosen = found.residuals.ravel()[np.repeat(modes * size, runs.lengths) + np.arange(size)]
    values = present[modes, order]
    levels = _refined(chosen, k[modes, order], runs) + 1
    levels[values == 0] = NOTHING
    is_sparse = (values > 0) & (sparse[modes, order] < dense[modes, order])
    value_sums = sums[modes, order][is_sparse] - values[is_sparse]
    value_levels = np.where(value_sums > 0, rice.near_best(value_sums, values[is_sparse]) + 1, NOTHING)
    levels[is_sparse] = SPARSE
    extra = np.array((values[is_sparse], value_levels)).view(np.uint64)
    heads = _heads(found, modes, runs.has_second(modes), is_sparse, extra)
    return Written(modes, levels, heads, *_numbers(chosen, runs, modes, levels, values[is_sparse], value_levels))


def plan(runs: Runs, modes: Int64, levels: Int64, numbers: UInt64) -> Plan:
    """What these heads say; FormatError ``batch_sparse`` for a sparse run that cannot be."""
    second, is_sparse = runs.has_second(modes), levels == SPARSE
    places = head_counts(runs, modes, levels).cumsum() - head_counts(runs, modes, levels)
    extra = places[is_sparse] + 1 + second[is_sparse]
    rest = runs.rest(modes)
    values, value_levels = numbers[extra], numbers[extra + 1]
    # compared before they become signed
    if ((values == 0) | (values > rest[is_sparse].view(np.uint64)) | (value_levels >= SPARSE)).any():
        raise FormatError("batch_sparse", "a sparse run of a batch has no value, too many, or an unknown level")
    steps = numbers[places[second] + 1]
    return Plan(numbers[places], steps, rest, levels, values.view(np.int64), value_levels.view(np.int64))


def head_counts(runs: Runs, modes: Int64, levels: Int64) -> Int64:
    """How many numbers each run has in the section of heads."""
    found: Int64 = 1 + runs.has_second(modes) + 2 * (levels == SPARSE)
    return found


def counts_and_k(found: Plan, firsts: Int64) -> tuple[Int64, UInt64]:
    """(3, B) how many dense numbers, gaps and values each batch has, and the k of every number.

    The runs of the batches begin at ``firsts``.
    """
    is_sparse = found.levels == SPARSE
    dense = np.where((found.levels > NOTHING) & ~is_sparse, found.rest, 0)
    gaps = np.zeros_like(dense)
    gaps[is_sparse] = found.values
    values = np.zeros_like(dense)
    values[is_sparse] = np.where(found.value_levels > NOTHING, found.values, 0)
    k = np.array((found.levels - 1, found.levels, found.levels))
    k[1, is_sparse] = _gap_k(found.rest[is_sparse], found.values)
    k[2, is_sparse] = found.value_levels - 1
    counts = np.array((dense, gaps, values))
    batch = np.zeros(len(dense), np.int64)
    batch[firsts[1:]] = 1
    # in the order of the sections: batch, then kind, then run
    order = np.lexsort(
        (np.tile(np.arange(len(dense)), 3), np.repeat((0, 1, 2), len(dense)), np.tile(batch.cumsum(), 3))
    )
    spread = np.repeat(k.ravel()[order], counts.ravel()[order])
    return np.add.reduceat(counts, firsts, axis=1), spread.view(np.uint64)


def residuals(found: Plan, runs: Runs, modes: Int64, counts: Int64, numbers: UInt64) -> UInt64:
    """Every residual in its place, from the numbers in the order of `counts_and_k`.

    FormatError ``batch_sparse`` (a gap leaves its run) or ``batch_values`` (more than 64 bits).
    """
    kinds = np.repeat(np.tile((0, 1, 2), counts.shape[1]), counts.T.ravel())
    is_sparse = found.levels == SPARSE
    out = np.zeros(int(runs.lengths.sum()), np.uint64)
    out[_rest_places(runs, modes, (found.levels > NOTHING) & ~is_sparse)] = numbers[kinds == 0]
    if is_sparse.any():
        first = runs.starts[is_sparse] + 1 + runs.has_second(modes)[is_sparse]
        gaps = numbers[kinds == 1]
        places = _places(gaps, found.values, found.rest[is_sparse]) + np.repeat(first, found.values)
        out[places] = _ONE
        written = places[np.repeat(found.value_levels > NOTHING, found.values)]
        values = numbers[kinds == 2]
        if (values == np.iinfo(np.uint64).max).any():
            raise FormatError("batch_values", "a number of a batch has more than 64 bits")
        out[written] = values + _ONE
    return out


def _dense_bits(sums: Float64, runs: Runs) -> tuple[Int64, Float64]:
    """(4, R) a good k, and about the bits that it costs: what remainders take from the sum is half their range."""
    k = rice.near_best(sums, runs.lengths)
    unit = np.exp2(-k)
    bits = runs.lengths * (k + 0.5 + 0.5 * unit) + sums * unit
    return k, np.where(sums > 0, bits, 0.0)


def _sparse_bits(sums: Float64, present: Int64, runs: Runs) -> Float64:
    """(4, R) at most the bits of gaps and values."""
    lengths = np.broadcast_to(runs.lengths, present.shape)
    count = np.maximum(present, 1)
    gap_k = _gap_k(lengths, count)
    value_k = rice.near_best(sums - present, count)
    gap_bits = present * (1.0 + gap_k) + (lengths - present) / np.exp2(gap_k)
    value_bits = present * (1.0 + value_k) + (sums - present) / np.exp2(value_k)
    value_bits[sums == present] = 0.0
    return np.where(present > 0, gap_bits + value_bits + _EXTRA_BITS, 0.0)


def _gap_k(rest: Int64, values: Int64) -> Int64:
    """The k of gaps: the logarithm of the mean gap, rounded down."""
    _, bit_lengths = np.frexp(((rest - values) // values).astype(np.float64))
    found: Int64 = np.maximum(bit_lengths - 1, 0).astype(np.int64)
    return found


def _refined(chosen: UInt64, k: Int64, runs: Runs) -> Int64:
    """The best of k and its neighbours: one large number among small ones misleads the estimate."""
    tries = np.array([(k + near).clip(0, rice.K_MAX) for near in _NEIGHBOURS])
    quotients = chosen >> np.repeat(tries, runs.lengths, axis=1).view(np.uint64)
    bits = np.add.reduceat(quotients, runs.starts, axis=1) + tries * runs.lengths.astype(np.float64)
    best: Int64 = tries[bits.argmin(axis=0), np.arange(len(k))]
    return best


def _heads(found: Candidates, modes: Int64, second: Mask, is_sparse: Mask, extra: UInt64) -> UInt64:
    """First heads, each followed by the second one and by what a sparse run says besides, where there is that."""
    counts = 1 + second + 2 * is_sparse
    places = counts.cumsum() - counts
    numbers = np.empty(int(counts.sum()), np.uint64)
    numbers[places] = found.heads[modes, np.arange(len(modes))]
    numbers[places[second] + 1] = found.steps[second]
    behind = (places + 1 + second)[is_sparse]
    numbers[behind], numbers[behind + 1] = extra
    return numbers


def _numbers(
    chosen: UInt64, runs: Runs, modes: Int64, levels: Int64, values: Int64, value_levels: Int64
) -> tuple[UInt64, UInt64]:
    """What is Rice-coded, with its k: the rests of all dense runs, all gaps, all values."""
    is_sparse = levels == SPARSE
    is_dense = (levels > NOTHING) & ~is_sparse
    rest = runs.rest(modes)
    dense = chosen[_rest_places(runs, modes, is_dense)]
    dense_k = np.repeat(levels[is_dense] - 1, rest[is_dense])
    if not is_sparse.any():
        return dense, dense_k.view(np.uint64)
    places = _rest_places(runs, modes, is_sparse)
    places = places[chosen[places] != 0]
    first = values.cumsum() - values
    gaps = np.empty_like(places)
    gaps[1:] = places[1:] - places[:-1] - 1
    gaps[first] = places[first] - (runs.starts + 1 + runs.has_second(modes))[is_sparse]
    gap_k = np.repeat(_gap_k(rest[is_sparse], values), values)
    level_of_value = np.repeat(value_levels, values)
    is_written = level_of_value > NOTHING
    numbers = np.concatenate((dense, gaps.view(np.uint64), chosen[places[is_written]] - _ONE))
    return numbers, np.concatenate((dense_k, gap_k, level_of_value[is_written] - 1)).view(np.uint64)


def _rest_places(runs: Runs, modes: Int64, which: Mask) -> Int64:
    """Where the values without head of these runs stand."""
    where = np.repeat(which, runs.lengths)
    where[runs.starts] = False
    where[runs.starts[runs.has_second(modes)] + 1] = False
    return where.nonzero()[0]


def _places(gaps: UInt64, values: Int64, rest: Int64) -> Int64:
    """Where in its rest each value of the sparse runs stands."""
    if (gaps > np.uint64(rest.max())).any():
        raise FormatError("batch_sparse", "a gap of a batch is longer than its run")
    ends = (gaps.view(np.int64) + 1).cumsum()
    last = values.cumsum() - 1
    before = np.zeros(len(values), np.int64)
    before[1:] = ends[last[:-1]]
    if (ends[last] - before > rest).any():
        raise FormatError("batch_sparse", "the gaps of a batch are longer than their run")
    found: Int64 = ends - 1 - np.repeat(before, values)
    return found
