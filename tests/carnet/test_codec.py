"""The codec: lossless, read alike by us and by a stranger with only the document, refused for one reason each."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import carnet
from carnet import codec
from carnet.batch import Batch
from carnet.compression import compress
from carnet.errors import FormatError, LocalProtocolError
from carnet.schema import Column, Schema
from carnet.transforms import Transform
from tests.carnet.stranger_codec import RefusedError, read
from tests.vectors import make_codec_vectors as maker

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "batch-format.md").read_text()
VECTORS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "vectors" / "codec" / "batch.json").read_text())
ACCEPTED = [vector for vector in VECTORS if vector["outcome"] == "accepted"]
REFUSED = [vector for vector in VECTORS if vector["outcome"] != "accepted"]


def schema_of(groups: list[int]) -> Schema:
    """Columns that belong to these groups."""
    return Schema(tuple(Column(f"Vehicle.C{n}", "", "int", "1", "0", Transform(), g) for n, g in enumerate(groups)))


def batch_of(groups: list[int], times: list[list[int]], values: list[list[int]]) -> Batch:
    """A batch of these integers."""
    arrays = [tuple(np.array(column, np.int64) for column in columns) for columns in (times, values)]
    return Batch(schema_of(groups), *arrays)


def lists(batch: Batch) -> tuple[list[list[int]], list[list[int]]]:
    """Times and values as Python's integers."""
    return [column.tolist() for column in batch.times], [column.tolist() for column in batch.values]


INT64 = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-20, 20)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Any batch: empty groups, lone samples, extremes, straight lines, twins."""
    counts = draw(st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(any))
    groups = sorted({*range(len(counts))} | {0}) + draw(st.lists(st.integers(0, len(counts) - 1), max_size=4))
    groups.sort()
    steps = st.one_of(st.just(1000), st.integers(0, 3000))
    times = []
    for count in counts:
        at = draw(st.integers(0, 2**53 - 1 - 12 * 3000))
        times.append([at := at + draw(steps) for _ in range(count)])
    kinds = st.sampled_from((INT64, SMALL, st.just(7)))
    values = [draw(st.lists(draw(kinds), min_size=counts[g], max_size=counts[g])) for g in groups]
    return batch_of(groups, times, values)


@given(batches())
@settings(max_examples=200)
def test_what_is_encoded_comes_back_to_us_and_to_a_stranger(batch: Batch) -> None:
    """Every integer of 64 bits, every time."""
    body = codec.encode(batch)
    assert lists(codec.decode(body, batch.schema)) == lists(batch)
    found = read(body, list(batch.schema.groups))
    assert (found.times, found.values) == lists(batch)


def slow_columns(seed: int) -> Batch:
    """What a car is full of: values that rarely change, by ones or by leaps, beside some that always do."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(30, 200))
    changes = [rng.random(count) < share for share in (0.0, 0.02, 0.05, 0.2)]
    leaps = rng.integers(-(2**62), 2**62, count)
    values = [np.where(c, size, 0).cumsum() for c in changes for size in (1, leaps)] + [leaps, leaps.cumsum()]
    times = rng.integers(990, 1010, count).cumsum()
    return Batch(schema_of([0] * len(values)), (times,), tuple(values))


def test_values_that_rarely_change_come_back_too() -> None:
    """Sparse runs, read by us (together and alone) and by a stranger."""
    many = [slow_columns(seed) for seed in range(20)]
    bodies = [codec.encode(batch) for batch in many]
    expected = [lists(batch) for batch in many]
    items = [(body, batch.schema) for body, batch in zip(bodies, many, strict=True)]
    assert [lists(batch) for batch in codec.decode_many(items)] == expected
    assert [lists(codec.decode(*item)) for item in items] == expected
    found = [read(body, list(batch.schema.groups)) for body, batch in zip(bodies, many, strict=True)]
    assert [(each.times, each.values) for each in found] == expected


def test_a_door_that_opens_once_costs_bytes_not_bits_per_sample() -> None:
    """An hour at 1 Hz with one change, beside the same hour without."""
    times = [1000 * n for n in range(3600)]
    still, opened = ([[0] * 3600], [[0] * 1800 + [1] * 1800])
    costs = [len(codec.encode(batch_of([0], [times], values))) for values in (still, opened)]
    assert costs[1] - costs[0] < 10


@given(st.lists(batches(), min_size=1, max_size=6))
@settings(max_examples=50)
def test_many_together_are_the_same_as_one_by_one(many: list[Batch]) -> None:
    """Micro-batches mix schemas freely; a twin never leans on another batch."""
    found = codec.decode_many([(codec.encode(batch), batch.schema) for batch in many])
    assert [lists(batch) for batch in found] == [lists(batch) for batch in many]


def test_more_than_one_go_of_batches_keeps_their_order() -> None:
    """The limit of what is restored together falls between batches."""
    many = [batch_of([0], [[n] * 20_000], [[n] * 20_000]) for n in range(5)]
    found = codec.decode_many([(codec.encode(batch), batch.schema) for batch in many])
    assert [batch.values[0][0] for batch in found] == list(range(5))
    assert codec.decode_many([]) == []


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda vector: vector["name"])
def test_a_body_that_must_be_accepted_is_read_alike(vector: dict[str, Any]) -> None:
    """By us, by the stranger, and as the vector says."""
    body, groups = bytes.fromhex(vector["bytes"]), vector["groups"]
    expected = vector["times"], [[int(value) for value in column] for column in vector["values"]]
    assert lists(codec.decode(body, schema_of(groups))) == expected
    found = read(body, groups)
    assert (found.times, found.values) == expected


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["name"])
def test_a_body_that_must_be_refused_is_refused_for_its_reason(vector: dict[str, Any]) -> None:
    """And by the stranger too, alone and among good ones."""
    body, groups = bytes.fromhex(vector["bytes"]), vector["groups"]
    good = codec.encode(batch_of([0], [[1]], [[2]])), schema_of([0])
    for items in ([(body, schema_of(groups))], [good, (body, schema_of(groups)), good]):
        with pytest.raises(FormatError) as refusal:
            codec.decode_many(items)
        assert refusal.value.reason == vector["outcome"]
    with pytest.raises(RefusedError):
        read(body, groups)


def test_the_vectors_are_what_their_maker_makes() -> None:
    """A change of the format changes them in the same commit."""
    for name, content in maker.documents().items():
        assert (maker.FOLDER / name).read_text() == content, f"run tests/vectors/make_codec_vectors.py: {name} differs"


def _documented_reasons() -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Refusals")[2], re.MULTILINE)


def test_the_table_of_refusals_is_the_codes_and_each_has_a_vector() -> None:
    """No reason without a line, no line without a reason, none untried."""
    in_code = {
        node.args[0].value
        for name in ("codec", "compression", "levels", "predict", "rice", "varint")
        for node in ast.walk(ast.parse((Path(carnet.__file__).parent / f"{name}.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FormatError"
        if isinstance(node.args[0], ast.Constant)
    }
    listed = _documented_reasons()
    assert len(listed) == len(set(listed))
    assert set(listed) == in_code == {vector["outcome"] for vector in REFUSED}


def test_the_worked_example_is_the_first_vector_and_what_we_write() -> None:
    """Byte for byte, with the offsets that are printed."""
    text = PAGE.partition("<!-- example begins -->")[2].partition("<!-- example ends -->")[0]
    rows = re.findall(r"^ *(\d+)  ([0-9a-f]+)  ", text, re.MULTILINE)
    body = b""
    for offset, part in rows:
        assert int(offset) == len(body)
        body += bytes.fromhex(part)
    first = VECTORS[0]
    assert body.hex() == first["bytes"]
    values = [[int(value) for value in column] for column in first["values"]]
    assert codec.encode(batch_of(first["groups"], first["times"], values)) == body


def test_regular_times_cost_next_to_nothing() -> None:
    """48 groups of 60 regular times and constant values: a few bytes per column."""
    times = [[10_000_000 + n + 1000 * i for i in range(60)] for n in range(48)]
    body = codec.encode(batch_of(list(range(48)), times, [[n] * 60 for n in range(48)]))
    assert len(body) < 48 * 3


def test_columns_with_the_same_times_need_no_common_group() -> None:
    """Jittered times that repeat in the next group are a twin without rest: a byte and a half after compression."""
    jitter = [1000 * i + (i * 7919) % 13 for i in range(60)]
    noise = [[(i * 104_729 + n) % 17 for i in range(60)] for n in range(40)]
    together = len(codec.encode(batch_of([0] * 40, [jitter], noise)))
    apart = len(codec.encode(batch_of(list(range(40)), [jitter] * 40, noise)))
    assert apart - together < 60


def test_the_shorter_form_is_sent() -> None:
    """Noise gets no frame around it, repetition does."""
    noise = np.random.default_rng(1).integers(-(2**62), 2**62, 50).tolist()
    assert codec.encode(batch_of([0], [list(range(50))], [noise]))[0] == codec.PLAIN
    assert codec.encode(batch_of([0], [list(range(500))], [[1, 900, 4] * 166 + [1, 1]]))[0] == codec.ZSTD


@pytest.mark.parametrize(
    ("groups", "times", "values", "reason"),
    [
        ([0], [[1], [2]], [[1]], "batch_shape"),
        ([0], [[1]], [[1], [2]], "batch_shape"),
        ([0], [[1]], [[1, 2]], "batch_shape"),
        ([0], [[]], [[]], "batch_counts"),
        ([0], [[0] * 131_073], [[0] * 131_073], "batch_counts"),
        ([0], [[2, 1]], [[0, 0]], "batch_times"),
        ([0], [[-1]], [[0]], "batch_times"),
        ([0], [[2**53]], [[0]], "batch_times"),
    ],
)
def test_what_no_receiver_would_take_is_not_written(
    groups: list[int], times: list[list[int]], values: list[list[int]], reason: str
) -> None:
    """It is our own caller who is wrong."""
    with pytest.raises(LocalProtocolError) as refusal:
        codec.encode(batch_of(groups, times, values))
    assert refusal.value.reason == reason


def test_a_batch_longer_than_a_receiver_inflates_is_not_written() -> None:
    """Noise of 64 bits is the only way to get there."""
    noise = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 131_072)
    with pytest.raises(LocalProtocolError) as refusal:
        codec.encode(Batch(schema_of([0]), (np.zeros(131_072, np.int64),), (noise,)))
    assert refusal.value.reason == "batch_size"


def test_the_largest_batch_is_read_again() -> None:
    """Exactly as many numbers as there may be."""
    batch = batch_of([0], [list(range(131_072))], [[5] * 131_072])
    assert lists(codec.decode(codec.encode(batch), batch.schema)) == lists(batch)


def test_a_caller_may_allow_less() -> None:
    """In either form."""
    plain = b"\0" + bytes(50)
    for body in (plain, b"\1" + compress(plain[1:])[4:]):
        with pytest.raises(FormatError) as refusal:
            codec.decode(body, schema_of([0]), size_max=49)
        assert refusal.value.reason == "frame_too_large"


def test_the_callers_arrays_are_left_alone() -> None:
    """Encoding subtracts the base from a copy."""
    batch = batch_of([0], [[5000, 6000]], [[1, 2]])
    for column in (*batch.times, *batch.values):
        column.flags.writeable = False
    codec.encode(batch)
    assert lists(batch) == ([[5000, 6000]], [[1, 2]])
