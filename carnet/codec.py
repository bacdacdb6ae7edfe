"""Columns to bytes and back: lossless on the integers, time at one millisecond. ``docs/batch-format.md`` is the law.

A run (a time column or a value column) is predicted (`carnet.predict`), what is left over is Rice-coded
(`carnet.rice`), and one zstd frame goes around it all if that is shorter. Law: no count and no size is believed before
it is compared with what is there, and what a batch may cost is bounded by `NUMBERS_MAX` and ``size_max``, whatever it
claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carnet import levels, predict, rice, varint
from carnet.batch import Batch
from carnet.compression import MAGIC, compress, inflate
from carnet.errors import FormatError, LocalProtocolError
from carnet.limits import INFLATED_BYTES_MAX, NUMBER_MAX
from carnet.predict import Int64, Runs
from carnet.schema import Schema

PLAIN: Final = 0
ZSTD: Final = 1
NUMBERS_MAX: Final = 1 << 18
"""Times and values of one batch together: a constant column costs no bytes, so bytes do not bound them."""
_TOGETHER: Final = 1 << 16
"""Numbers that are restored in one go: more would leave the processor's cache."""
_LEVEL_BITS: Final = 6


def encode(batch: Batch) -> bytes:
    """The body of a data box.

    LocalProtocolError: ``batch_shape`` (arrays that do not fit the schema), ``batch_counts`` (no sample, or more than
    `NUMBERS_MAX`), ``batch_times`` (a time falls, is negative or 2^53), ``batch_size`` (more bytes than a receiver
    would inflate).
    """
    batch.check()
    plain = _plain(batch)
    if len(plain) > INFLATED_BYTES_MAX:
        raise LocalProtocolError("batch_size", f"a batch has more than {INFLATED_BYTES_MAX} bytes")
    packed = compress(plain)[len(MAGIC) :]
    return bytes([ZSTD]) + packed if len(packed) < len(plain) else bytes([PLAIN]) + plain


def decode(data: bytes, schema: Schema, *, size_max: int = INFLATED_BYTES_MAX) -> Batch:
    """The batch in ``data``; ``size_max`` bounds the inflated bytes. FormatError, its reasons stand in the document."""
    return decode_many([(data, schema)], size_max=size_max)[0]


def decode_many(items: Sequence[tuple[bytes, Schema]], *, size_max: int = INFLATED_BYTES_MAX) -> list[Batch]:
    """`decode` of many batches together, for a third of the time a sample. One that is malformed fails the call."""
    batches: list[Batch] = []
    together: list[_Head] = []
    numbers = 0
    for data, schema in items:
        head = _head(_inflated(data, size_max), schema)
        if together and numbers + head.numbers > _TOGETHER:
            batches += _batches(together)
            together, numbers = [], 0
        together.append(head)
        numbers += head.numbers
    return batches + (_batches(together) if together else [])


# writing


def _plain(batch: Batch) -> bytes:
    lengths = np.array([len(column) for column in (*batch.times, *batch.values)], np.int64)
    if not 0 < lengths.sum() <= NUMBERS_MAX:
        raise LocalProtocolError("batch_counts", f"a batch has no sample, or more than {NUMBERS_MAX} numbers")
    counts = lengths[: len(batch.times)]
    x = np.concatenate((*batch.times, *batch.values)).astype(np.int64, copy=False)
    times = x[: counts.sum()]
    if _times_are_wrong(times, counts):
        raise LocalProtocolError("batch_times", "the times of a batch fall, are negative or 2^53")
    base = int(times.min())
    times -= base
    runs = Runs.of(lengths[lengths > 0])
    written = levels.choose(predict.candidates(x, runs), runs)
    run_bytes = (written.modes << _LEVEL_BITS | written.levels).astype(np.uint8).tobytes()
    remainders, quotients = rice.write(written.numbers, written.k)
    numbers = varint.encode_one(base) + varint.encode(counts.view(np.uint64))
    return b"".join((numbers, run_bytes, varint.encode(written.heads), remainders, quotients))


def _times_are_wrong(times: Int64, lengths: Int64) -> bool:
    """Whether one of the time columns, laid end to end, falls, or holds a negative time or one of 2^53 and more."""
    rises = np.empty(len(times) + 1, np.bool_)
    np.greater_equal(times[1:], times[:-1], out=rises[1:-1])
    # a column may begin where it likes; an empty one at the end begins behind everything
    rises[lengths.cumsum()] = True
    rises[0] = True
    return not (rises.all() and times.min() >= 0 and times.max() <= NUMBER_MAX)


# reading


class _Head(NamedTuple):
    """What stands before the sections of bits, and where they are; counts only, nothing of their size."""

    plain: bytes
    at: int
    """Where the heads begin."""
    schema: Schema
    base: int
    lengths: Int64
    """Of all columns, the times first; 0 where there is no run."""
    run_lengths: Int64
    run_bytes: NDArray[np.uint8]
    time_numbers: int
    numbers: int


def _inflated(data: bytes, size_max: int) -> bytes:
    form = data[:1]
    if form == bytes([ZSTD]):
        return inflate(MAGIC + data[1:], size_max)
    if form != bytes([PLAIN]):
        raise FormatError("codec_unknown", "a batch is in a form that is not known here")
    if len(data) - 1 > size_max:
        raise FormatError("frame_too_large", f"a batch has more than {size_max} bytes")
    return data[1:]


def _head(plain: bytes, schema: Schema) -> _Head:
    base, at = varint.decode_one(plain, 0)
    if base > NUMBER_MAX:
        raise FormatError("batch_times", "a time of a batch is 2^53 or more")
    counts_end = varint.end(plain, at, schema.group_count)
    counts = varint.decode(plain[at:counts_end])
    # each before their sum, which could wrap
    if counts.max(initial=0) > NUMBERS_MAX:
        raise FormatError("batch_counts", "a batch has more samples than it may")
    times = counts.view(np.int64)
    lengths = np.concatenate((times, times[schema.group_index]))
    numbers = int(lengths.sum())
    if not 0 < numbers <= NUMBERS_MAX:
        raise FormatError("batch_counts", "a batch has no sample, or more than it may")
    run_lengths = lengths[lengths > 0]
    at = counts_end + len(run_lengths)
    if at > len(plain):
        raise FormatError("batch_length", "a batch ends within its runs")
    run_bytes = np.frombuffer(plain, np.uint8, count=len(run_lengths), offset=counts_end)
    return _Head(plain, at, schema, base, lengths, run_lengths, run_bytes, int(times.sum()), numbers)


def _batches(heads: Sequence[_Head]) -> list[Batch]:
    """The batches behind these heads, their numbers restored in one go."""
    runs = Runs.of(np.concatenate([head.run_lengths for head in heads]))
    run_bytes = np.concatenate([head.run_bytes for head in heads]).astype(np.int64)
    modes, run_levels = run_bytes >> _LEVEL_BITS, run_bytes & (1 << _LEVEL_BITS) - 1
    run_counts = np.array([len(head.run_lengths) for head in heads], np.int64)
    firsts = run_counts.cumsum() - run_counts
    twins = runs.has_twin()
    twins[firsts] = False
    if ((modes == predict.TWIN) & ~twins).any():
        raise FormatError("batch_runs", "a run of a batch is the twin of no run")
    head_counts = np.add.reduceat(levels.head_counts(runs, modes, run_levels), firsts).tolist()
    behind = [varint.end(head.plain, head.at, count) for head, count in zip(heads, head_counts, strict=True)]
    numbers = varint.decode(b"".join(head.plain[head.at : at] for head, at in zip(heads, behind, strict=True)))
    plan = levels.plan(runs, modes, run_levels, numbers)
    counts, k = levels.counts_and_k(plan, firsts)
    rest = rice.read([head.plain[at:] for head, at in zip(heads, behind, strict=True)], counts.sum(axis=0), k)
    residuals = levels.residuals(plan, runs, modes, counts, rest)
    x = predict.restore(runs, modes, plan.heads, plan.steps, residuals)
    batches = []
    start = 0
    for head in heads:
        batches.append(_batch(head, x[start : start + head.numbers]))
        start += head.numbers
    return batches


def _batch(head: _Head, x: Int64) -> Batch:
    """One batch of its restored numbers."""
    groups = head.schema.group_count
    times = x[: head.time_numbers]
    # a sum that wraps is negative, because the base is below 2^53, and refused as such
    times += head.base
    if _times_are_wrong(times, head.lengths[:groups]):
        raise FormatError("batch_times", "the times of a batch fall, are negative or 2^53")
    ends = head.lengths.cumsum().tolist()
    columns = [x[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return Batch(head.schema, tuple(columns[:groups]), tuple(columns[groups:]))
