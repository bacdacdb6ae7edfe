"""Columns to bytes and back: lossless on the integers, time at one millisecond. ``docs/batch-format.md`` is the law.

A run (a time column or a value column) is predicted (`carnet.predict`), what is left over is Rice-coded (`carnet.rice`), and
one zstd frame goes around it all if that is shorter. Law: no count and no size is believed before it is compared with what is
there, and what a batch may cost is bounded by `NUMBERS_MAX` and ``size_max``, whatever it claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carnet import predict, rice, varint
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
_LEVEL_BITS: Final = 6


def encode(batch: Batch) -> bytes:
    """The body of a data box.

    LocalProtocolError: ``batch_shape`` (arrays that do not fit the schema), ``batch_counts`` (no sample, or more than `NUMBERS_MAX`),
    ``batch_times`` (a time falls, is negative or 2^53), ``batch_size`` (more bytes than a receiver would inflate).
    """
    batch.check()
    plain = _plain(batch)
    if len(plain) > INFLATED_BYTES_MAX:
        raise LocalProtocolError("batch_size", f"a batch has more than {INFLATED_BYTES_MAX} bytes")
    packed = compress(plain)[len(MAGIC) :]
    return bytes([ZSTD]) + packed if len(packed) < len(plain) else bytes([PLAIN]) + plain


def decode(data: bytes, schema: Schema, *, size_max: int = INFLATED_BYTES_MAX) -> Batch:
    """The batch in ``data``; ``size_max`` bounds the inflated bytes. FormatError with one reason each, see the document."""
    return decode_many([(data, schema)], size_max=size_max)[0]


def decode_many(items: Sequence[tuple[bytes, Schema]], *, size_max: int = INFLATED_BYTES_MAX) -> list[Batch]:
    """`decode` of many batches together, for a third of the time a sample. One that is malformed fails the call."""
    batches: list[Batch] = []
    together: list[_Head] = []
    numbers = 0
    for data, schema in items:
        head = _head(_inflated(data, size_max), schema)
        if together and numbers + head.numbers > NUMBERS_MAX:
            batches += _batches(together)
            together, numbers = [], 0
        together.append(head)
        numbers += head.numbers
    return batches + (_batches(together) if together else [])


# writing


def _plain(batch: Batch) -> bytes:
    times = [column for column in batch.times if len(column)]
    numbers = sum(map(len, batch.times)) + batch.samples
    if not times or numbers > NUMBERS_MAX:
        raise LocalProtocolError("batch_counts", f"a batch has no sample, or more than {NUMBERS_MAX} numbers")
    base = int(min(column[0] for column in times))
    parts = [*times, *(column for column in batch.values if len(column))]
    x = np.concatenate(parts).astype(np.int64, copy=False)
    runs = Runs.of(np.array([len(part) for part in parts], np.int64))
    if _times_are_wrong(x, runs, len(times)):
        raise LocalProtocolError("batch_times", "the times of a batch fall, are negative or 2^53")
    x[: runs.starts[len(times)]] -= base
    choice = predict.choose(x, runs)
    run_bytes = (choice.modes << _LEVEL_BITS | choice.levels).astype(np.uint8).tobytes()
    remainders, quotients = rice.write(choice.rest, choice.k)
    counts = varint.encode(map(len, batch.times))
    return b"".join((varint.encode_one(base), counts, run_bytes, varint.encode(choice.heads), remainders, quotients))


def _times_are_wrong(x: Int64, runs: Runs, time_runs: int) -> bool:
    """Whether a time column falls, or holds a negative time or one of 2^53 and more; ``x`` begins with the time columns."""
    times = x[: runs.starts[time_runs]]
    falls = times[1:] < times[:-1]
    falls[runs.starts[1:time_runs] - 1] = False
    return bool(falls.any() or times.min() < 0 or times.max() > NUMBER_MAX)


# reading


class _Head(NamedTuple):
    """What stands before the sections of bits, and where they are; counts only, nothing of their size."""

    plain: bytes
    at: int
    """Where the heads begin."""
    schema: Schema
    base: int
    counts: Int64
    """Per group."""
    lengths: Int64
    """Per run."""
    time_runs: int
    run_bytes: NDArray[np.uint8]
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
    found, at = varint.decode(plain, at, schema.group_count)
    if found.max(initial=0) > NUMBERS_MAX:
        raise FormatError("batch_counts", "a batch has more samples than it may")
    counts = found.view(np.int64)
    per_column = counts[schema.group_index]
    numbers = int(counts.sum() + per_column.sum())
    if not 0 < numbers <= NUMBERS_MAX:
        raise FormatError("batch_counts", "a batch has no sample, or more than it may")
    lengths = np.concatenate((counts, per_column))
    filled = lengths > 0
    lengths = lengths[filled]
    if at + len(lengths) > len(plain):
        raise FormatError("batch_length", "a batch ends within its runs")
    run_bytes = np.frombuffer(plain, np.uint8, count=len(lengths), offset=at)
    time_runs = int(np.count_nonzero(filled[: len(counts)]))
    return _Head(plain, at + len(lengths), schema, base, counts, lengths, time_runs, run_bytes, numbers)


def _batches(heads: Sequence[_Head]) -> list[Batch]:
    """The batches behind these heads, their numbers restored in one go."""
    runs = Runs.of(np.concatenate([head.lengths for head in heads]))
    run_bytes = np.concatenate([head.run_bytes for head in heads]).astype(np.int64)
    modes, levels = run_bytes >> _LEVEL_BITS, run_bytes & (1 << _LEVEL_BITS) - 1
    run_counts = np.array([len(head.lengths) for head in heads], np.int64)
    firsts = run_counts.cumsum() - run_counts
    twins = runs.has_twin()
    twins[firsts] = False
    if ((modes == predict.TWIN) & ~twins).any():
        raise FormatError("batch_runs", "a run of a batch is the twin of no run")
    second = runs.has_second(modes)
    coded = np.where(levels > 0, runs.coded(modes), 0)
    per_head = np.add.reduceat(np.stack((coded, coded * (levels - 1), 1 + second)), firsts, axis=1)
    sections = [_sections(head, *needs) for head, needs in zip(heads, per_head[1:].T.tolist(), strict=True)]
    first_values = np.concatenate([section[0] for section in sections])
    rest = rice.read(
        [section[1] for section in sections],
        [section[2] for section in sections],
        per_head[0],
        np.repeat(levels - 1, coded).view(np.uint64),
    )
    where = np.repeat(levels > 0, runs.lengths)
    where[runs.starts] = False
    where[runs.starts[second] + 1] = False
    x = predict.restore(runs, modes, first_values, rest, where)
    ends = [0, *(runs.starts + runs.lengths).tolist()]
    return [_split(x, ends, first, head) for first, head in zip(firsts.tolist(), heads, strict=True)]


def _sections(head: _Head, remainder_bits: int, head_count: int) -> tuple[NDArray[np.uint64], bytes, bytes]:
    """(heads, remainders, quotients); the last reaches to the end, and its reader refuses what is too much."""
    values, at = varint.decode(head.plain, head.at, head_count)
    behind = at + (remainder_bits + 7) // 8
    if behind > len(head.plain):
        raise FormatError("batch_length", "a batch ends within its remainders")
    return values, head.plain[at:behind], head.plain[behind:]


def _split(x: Int64, ends: list[int], first: int, head: _Head) -> Batch:
    """One batch of the restored numbers; its runs begin with number ``first``."""
    start = ends[first]
    own = x[start : start + head.numbers]
    runs = Runs.of(head.lengths)
    times_end = int(runs.starts[head.time_runs])
    if head.base > NUMBER_MAX or own[:times_end].max() > NUMBER_MAX:
        raise FormatError("batch_times", "a time of a batch is 2^53 or more")
    own[:times_end] += head.base
    if _times_are_wrong(own, runs, head.time_runs):
        raise FormatError("batch_times", "the times of a batch fall, are negative or 2^53")
    empty = x[:0]
    columns = []
    at = first
    for length in (*head.counts.tolist(), *head.counts[head.schema.group_index].tolist()):
        columns.append(x[ends[at] : ends[at + 1]] if length else empty)
        at += length > 0
    groups = len(head.counts)
    return Batch(head.schema, tuple(columns[:groups]), tuple(columns[groups:]))
