"""Attacks on batches: a body is sealed and signed by an enrolled unit, but the unit may be in a thief's hands.

Whatever it holds, the answer is a batch or one FormatError, within the memory that the bounds allow.
"""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from carnet import codec
from carnet.batch import Batch
from carnet.compression import compress
from carnet.errors import FormatError
from carnet.schema import COLUMNS_MAX, Column, Schema
from carnet.transforms import Transform
from tests.vectors.make_codec_vectors import DELTA, LINE, RAW, TWIN, Run, bomb, number, plain

SIXTEEN_MB = 16_000_000


def schema_of(groups: list[int]) -> Schema:
    """Columns that belong to these groups."""
    return Schema(tuple(Column(f"Vehicle.C{n}", "", "int", "1", "0", Transform(), g) for n, g in enumerate(groups)))


def victim(form: int) -> tuple[bytes, Schema]:
    """A right body in this form, with every mode and many levels in it."""
    rng = np.random.default_rng(7)
    times = (np.arange(40) * 1000, np.arange(40) * 1000 + rng.integers(0, 3, 40))
    values = [rng.integers(-4, 5, 40).cumsum(), rng.integers(0, 2**40, 40), np.full(40, 3), np.arange(40) * 9 // 300]
    batch = Batch(schema_of([0, 0, 1, 1]), times, tuple(values))
    body = codec.encode(batch)
    assert body[0] == codec.PLAIN
    return (body if form == codec.PLAIN else b"\1" + compress(body[1:])[4:]), batch.schema


def answer(body: bytes, schema: Schema) -> str:
    """'batch' or the reason of the refusal; anything else fails the test."""
    try:
        batch = codec.decode(body, schema)
    except FormatError as error:
        return error.reason
    batch.check()
    return "batch"


def peak(work: Callable[[], object]) -> int:
    """Bytes at the highest point of the work."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", [codec.PLAIN, codec.ZSTD])
def test_truncated_at_every_length(form: int) -> None:
    """No shorter body is a batch."""
    body, schema = victim(form)
    assert answer(body, schema) == "batch"
    assert "batch" not in {answer(body[:size], schema) for size in range(len(body))}


@pytest.mark.parametrize("form", [codec.PLAIN, codec.ZSTD])
def test_bytes_behind_it(form: int) -> None:
    """Zeros, a copy, a second frame."""
    body, schema = victim(form)
    for tail in (b"\0", b"\xff", b"\x80", body, b"\x28\xb5\x2f\xfd" + body[1:], bytes(1000)):
        assert answer(body + tail, schema) in {"batch_length", "frame_trailing"}


@pytest.mark.parametrize("form", [codec.PLAIN, codec.ZSTD])
def test_every_bit_flipped(form: int) -> None:
    """Another batch (the signature is what protects values) or a refusal, never anything else."""
    body, schema = victim(form)
    answers = set()
    for at in range(len(body)):
        for bit in range(8):
            answers.add(answer(body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :], schema))
    assert {"batch", "codec_unknown"} < answers


def test_random_bytes_behind_a_right_beginning() -> None:
    """Ten thousand of them."""
    rng = random.Random(11)
    schema = schema_of([0, 0, 1])
    answers = {
        answer(b"\0\7" + bytes([rng.randrange(9), rng.randrange(9)]) + rng.randbytes(rng.randrange(60)), schema)
        for _ in range(10_000)
    }
    assert answers >= {"batch_length", "batch_runs", "batch_times", "varint_malformed"}


def test_another_schema_than_it_was_written_with() -> None:
    """More or fewer columns and groups do not fit the bytes."""
    body, _ = victim(codec.PLAIN)
    for groups in ([0], [0, 0, 1], [0, 0, 1, 1, 1], [0, 1, 2, 3], [0] * 50):
        assert answer(body, schema_of(groups)) != "batch"


def test_a_frame_that_inflates_to_a_gigabyte() -> None:
    """It is dropped at the first mebibyte."""
    body = b"\1" + bomb(1 << 30)
    assert len(body) < 40_000
    assert peak(lambda: answer(body, schema_of([0]))) < SIXTEEN_MB
    assert answer(body, schema_of([0])) in {"frame_too_large", "frame_malformed"}


def test_a_gigabyte_that_streams_within_a_small_window() -> None:
    """The size stands nowhere; every block says 128 KiB of zeros."""
    blocks = (131_072 << 3 | 2).to_bytes(3, "little") + b"\0"
    body = b"\1\x00\x38" + blocks * 8192 + b"\x01\0\0"
    assert peak(lambda: answer(body, schema_of([0]))) < SIXTEEN_MB
    assert answer(body, schema_of([0])) == "frame_too_large"


def test_columns_that_cost_no_bytes() -> None:
    """Constant runs: 4,096 columns of 262,144 values would be eight gigabytes; the sum of the counts is bounded."""
    schema = schema_of([0] * COLUMNS_MAX)
    body = plain(0, [262_144], *[Run(DELTA, 0, [0])] * (COLUMNS_MAX + 1))
    assert peak(lambda: answer(body, schema)) < SIXTEEN_MB
    assert answer(body, schema) == "batch_counts"


def test_the_dearest_batch_that_is_allowed() -> None:
    """As many numbers as there may be, all of them twins of lines: what an attacker can make one body cost."""
    runs = [Run(LINE, 0, [0, 1]), *[Run(TWIN, 0, [0])] * 3]
    body = plain(0, [65_536], *runs)
    assert peak(lambda: codec.decode(body, schema_of([0, 0, 0]))) < SIXTEEN_MB


def test_a_section_of_nothing_but_ones() -> None:
    """Every bit would be a number: counted before their places are listed."""
    body = plain(0, [2], Run(DELTA, 0, [0]), Run(RAW, 1, [0], [0])) + b"\xff" * 1_000_000
    assert peak(lambda: answer(body, schema_of([0]))) < SIXTEEN_MB
    assert answer(body, schema_of([0])) == "batch_length"


def test_a_quotient_as_long_as_a_batch_may_be() -> None:
    """Eight million zero bits are one number."""
    body = plain(0, [2], Run(DELTA, 0, [0]), Run(DELTA, 1, [0], [0]))[:-1] + bytes(1_000_000) + b"\1"
    assert peak(lambda: answer(body, schema_of([0]))) < SIXTEEN_MB
    assert answer(body, schema_of([0])) == "batch"


@pytest.mark.parametrize("count", [2**18 + 1, 2**31, 2**32, 2**62, 2**63, 2**64 - 1])
def test_counts_that_are_too_large_in_every_way(count: int) -> None:
    """Alone and in sums that wrap around to something small."""
    for counts in ([count], [count, count], [count, 2**64 - count], [1, count]):
        body = b"\0" + number(0) + b"".join(map(number, (c % 2**64 for c in counts))) + bytes(50)
        assert answer(body, schema_of(list(range(len(counts))))) == "batch_counts"
