"""Columns to bytes and back: lossless on the integers, time at one millisecond. ``docs/batch-format.md`` is the law.

Per run (a time column or a value column) the cheapest of raw, delta and delta of delta; zigzag; one width of 0, 1, 2, 4 or
8 bytes for the run; the bytes of all runs of one width in planes; one zstd frame around it all if that is shorter.
Reading is bounded: no count and no size is believed before it is compared with what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from backports import zstd
from numpy.typing import NDArray

from carnet import varint
from carnet.batch import Batch
from carnet.compression import inflate
from carnet.errors import FormatError
from carnet.schema import Schema

PLAIN: Final = 0
ZSTD: Final = 1
LEVEL: Final = 9
SIZE_BYTES_MAX: Final = 1 << 24
SAMPLES_MAX: Final = 1 << 20
"""Samples of one run."""

RAW, DELTA, DELTA2 = 0, 1, 2
_WIDTHS: Final = (0, 1, 2, 4, 8)
_LIMITS = np.array([0, 0xFF, 0xFFFF, 0xFFFFFFFF], np.uint64)
_ONE = np.uint64(1)

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


def encode(batch: Batch) -> bytes:
    """The body of a data box. LocalProtocolError for a batch that does not fit its schema."""
    batch.check()
    plain = _plain(batch)
    packed = zstd.compress(plain, LEVEL)
    return bytes([ZSTD]) + packed if len(packed) < len(plain) else bytes([PLAIN]) + plain


def decode(data: bytes, schema: Schema, *, size_max: int = SIZE_BYTES_MAX) -> Batch:
    """The batch in ``data``; ``size_max`` bounds the inflated bytes. FormatError with one reason each, see the document."""
    return decode_many([(data, schema)], size_max=size_max)[0]


def decode_many(items: Sequence[tuple[bytes, Schema]], *, size_max: int = SIZE_BYTES_MAX) -> list[Batch]:
    """`decode` of many batches at once, for a third of the time a sample. One that is malformed fails the call."""
    parsed = [_parse(_inflated(data, size_max), schema) for data, schema in items]
    if not parsed:
        return []
    runs = _Runs.join(parsed)
    x = _integrate(runs)
    batches = []
    at = 0
    for (_, schema), one in zip(items, parsed, strict=True):
        batches.append(_split(x[at : at + one.total], schema, one))
        at += one.total
    return batches


# writing


def _plain(batch: Batch) -> bytes:
    base = min(int(times[0]) for times in batch.times)
    parts = [times - base for times in batch.times] + list(batch.values)
    x = np.concatenate(parts)
    lengths = np.array([len(part) for part in parts], np.int64)
    starts = lengths.cumsum() - lengths
    residuals, heads = _residuals(x, starts, lengths)
    modes, widths = _choose(residuals, starts)
    rows = np.repeat(modes, lengths)
    chosen = residuals[rows, np.arange(len(x))]
    head = [varint.encode_one(base), varint.encode([len(times) for times in batch.times])]
    meta = (modes * 8 + widths).astype(np.uint8).tobytes()
    firsts = varint.encode(_first_values(heads, modes, lengths))
    return b"".join([*head, meta, firsts, *_sections(chosen, np.repeat(widths, lengths))])


def _residuals(x: Int64, starts: Int64, lengths: Int64) -> tuple[UInt64, UInt64]:
    """(3, n) zigzagged residuals of raw, delta, delta of delta, zero where a head stands for them; (2, R) the heads.

    Heads are the first value of each run and its first difference: a straight line costs two numbers and no bytes.
    """
    d = np.empty_like(x)
    d[0] = 0
    np.subtract(x[1:], x[:-1], out=d[1:])
    second = starts[lengths > 1] + 1
    heads = np.zeros((2, len(starts)), np.int64)
    heads[0] = x[starts]
    heads[1, lengths > 1] = d[second]
    d[starts] = 0
    dd = np.empty_like(x)
    dd[0] = 0
    np.subtract(d[1:], d[:-1], out=dd[1:])
    dd[starts] = 0
    dd[second] = 0
    raw = x.copy()
    raw[starts] = 0
    return _zigzag(np.stack((raw, d, dd))), _zigzag(heads)


def _choose(residuals: UInt64, starts: Int64) -> tuple[Int64, Int64]:
    """Per run the mode with the fewest bits (by the sum of magnitudes) and the width class that holds its largest."""
    cost = np.add.reduceat(np.log2(residuals.astype(np.float64) + 1.0), starts, axis=1)
    modes = cost.argmin(axis=0)
    largest = np.maximum.reduceat(residuals, starts, axis=1)[modes, np.arange(len(starts))]
    return modes, _LIMITS.searchsorted(largest)


def _first_values(heads: UInt64, modes: Int64, lengths: Int64) -> UInt64:
    """The first value of every run, followed by the first difference where the mode needs it."""
    two = (modes == DELTA2) & (lengths > 1)
    out = np.empty(len(modes) + int(two.sum()), np.uint64)
    place = np.arange(len(modes)) + two.cumsum() - two
    out[place] = heads[0]
    out[place[two] + 1] = heads[1, two]
    return out


def _sections(values: UInt64, widths: Int64) -> list[bytes]:
    sections = []
    for width_class in (1, 2, 3, 4):
        chosen = values[widths == width_class]
        if len(chosen):
            width = _WIDTHS[width_class]
            octets = chosen.astype(f"<u{width}").view(np.uint8).reshape(-1, width)
            sections.append(np.ascontiguousarray(octets.T).tobytes())
    return sections


# reading


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs of one or many batches: residuals in place, with the heads that start the sums."""

    lengths: Int64
    modes: Int64
    firsts: UInt64
    slopes: UInt64
    residuals: UInt64
    base: int

    @property
    def total(self) -> int:
        return len(self.residuals)

    @staticmethod
    def join(parsed: Sequence[_Runs]) -> _Runs:
        if len(parsed) == 1:
            return parsed[0]
        return _Runs(
            np.concatenate([p.lengths for p in parsed]),
            np.concatenate([p.modes for p in parsed]),
            np.concatenate([p.firsts for p in parsed]),
            np.concatenate([p.slopes for p in parsed]),
            np.concatenate([p.residuals for p in parsed]),
            base=0,
        )


def _inflated(data: bytes, size_max: int) -> bytes:
    if not data or data[0] not in (PLAIN, ZSTD):
        raise FormatError("codec_unknown", "a batch is in a form that is not known here")
    if data[0] == ZSTD:
        return inflate(data[1:], size_max)
    if len(data) - 1 > size_max:
        raise FormatError("frame_too_large", f"a batch has more than {size_max} bytes")
    return data[1:]


def _parse(plain: bytes, schema: Schema) -> _Runs:
    base, at = varint.decode_one(plain, 0)
    counts, at = varint.decode(plain, at, schema.group_count)
    if counts.size and (counts.min() == 0 or counts.max() > SAMPLES_MAX):
        raise FormatError("batch_counts", "a group of a batch is empty or too long")
    group_lengths = counts.astype(np.int64)
    lengths = np.concatenate((group_lengths, group_lengths[list(schema.groups)]))
    meta = np.frombuffer(plain, np.uint8, count=_room(plain, at, len(lengths)), offset=at).astype(np.int64)
    at += len(lengths)
    modes, widths = meta >> 3, meta & 7
    if (modes > DELTA2).any() or (widths >= len(_WIDTHS)).any():
        raise FormatError("batch_meta", "a run of a batch is in a mode or width that is not known here")
    two = (modes == DELTA2) & (lengths > 1)
    heads, at = varint.decode(plain, at, len(lengths) + int(two.sum()))
    place = np.arange(len(lengths)) + two.cumsum() - two
    slopes = np.zeros(len(lengths), np.uint64)
    slopes[two] = heads[place[two] + 1]
    return _Runs(lengths, modes, heads[place], slopes, _read_sections(plain, at, lengths, widths), base)


def _read_sections(plain: bytes, at: int, lengths: Int64, widths: Int64) -> UInt64:
    per_class = [int(lengths[widths == c].sum()) for c in range(len(_WIDTHS))]
    if at + sum(n * w for n, w in zip(per_class, _WIDTHS, strict=True)) != len(plain):
        raise FormatError("batch_length", "a batch has not the length that its runs need")
    residuals = np.zeros(int(lengths.sum()), np.uint64)
    of_sample = np.repeat(widths, lengths)
    for width_class in (1, 2, 3, 4):
        count, width = per_class[width_class], _WIDTHS[width_class]
        if count:
            planes = np.frombuffer(plain, np.uint8, count=count * width, offset=at).reshape(width, count)
            residuals[of_sample == width_class] = np.ascontiguousarray(planes.T).view(f"<u{width}")[:, 0]
            at += count * width
    return residuals


def _integrate(runs: _Runs) -> Int64:
    """Values of all runs: the residuals summed once for delta, twice for delta of delta, from the heads on."""
    x = _unzigzag(runs.residuals)
    starts = runs.lengths.cumsum() - runs.lengths
    modes = np.repeat(runs.modes, runs.lengths)
    two = (runs.modes == DELTA2) & (runs.lengths > 1)
    if two.any():
        x[starts[two] + 1] = _unzigzag(runs.slopes[two])
        _sum_runs(x, modes == DELTA2, runs.lengths[runs.modes == DELTA2])
    x[starts] = _unzigzag(runs.firsts)
    summed = runs.modes != RAW
    if summed.any():
        _sum_runs(x, modes != RAW, runs.lengths[summed])
    return x


def _sum_runs(x: Int64, where: NDArray[np.bool_], lengths: Int64) -> None:
    """Replace the chosen runs by their running sums (modulo 2^64, as the differences were taken)."""
    chosen = x[where]
    sums = chosen.cumsum()
    starts = lengths.cumsum() - lengths
    x[where] = sums - np.repeat(sums[starts] - chosen[starts], lengths)


def _split(x: Int64, schema: Schema, runs: _Runs) -> Batch:
    ends = runs.lengths.cumsum().tolist()
    columns = [x[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    times = x[: ends[schema.group_count - 1]]
    falls = times[1:] < times[:-1]
    falls[runs.lengths[: schema.group_count - 1].cumsum() - 1] = False
    if falls.any() or times.min() < 0:
        raise FormatError("batch_times", "the times of a batch fall or are negative")
    times += runs.base
    return Batch(schema, tuple(columns[: schema.group_count]), tuple(columns[schema.group_count :]))


def _room(plain: bytes, at: int, count: int) -> int:
    if at + count > len(plain):
        raise FormatError("batch_length", "a batch ends within its runs")
    return count


def _zigzag(values: Int64) -> UInt64:
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def _unzigzag(values: UInt64) -> Int64:
    return (values >> _ONE).view(np.int64) ^ -(values & _ONE).view(np.int64)
