"""Whatever the bytes, decode refuses or returns a batch that a stranger reads alike, and that is read back the same.

The first byte chooses the schema, the second whether the rest travels in a zstd frame.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from carnet import codec
from carnet.batch import Batch
from carnet.compression import MAGIC, compress
from carnet.errors import FormatError
from carnet.schema import Column, Schema
from carnet.transforms import Transform
from tests.carnet import stranger_codec
from tests.fuzz.material import vectors

GROUPS = ((0,), (0, 0, 1), (0, 0, 0), (0, 1, 2), tuple(range(20)), (0,) * 40)
RUNS = 2000
SAMPLES_MAX = 20_000
"""More are not written again: a few bytes may say a hundred thousand, and writing is the writer's business."""


def schema_of(groups: tuple[int, ...]) -> Schema:
    return Schema(tuple(Column(f"Vehicle.C{n}", "", "int", "1", "0", Transform(), g) for n, g in enumerate(groups)))


SCHEMAS = tuple(map(schema_of, GROUPS))


def seeds() -> Iterable[bytes]:
    for vector in vectors("codec/batch"):
        body = bytes.fromhex(vector["bytes"])
        groups = tuple(vector["groups"])
        chosen = GROUPS.index(groups) if groups in GROUPS else len(groups) % len(GROUPS)
        yield bytes([chosen, 2]) + body
        yield bytes([chosen, body[0] & 1 if body else 0]) + body[1:]


def check(data: bytes) -> None:
    schema = SCHEMAS[data[0] % len(SCHEMAS)] if data else SCHEMAS[0]
    form, rest = data[1:2], data[2:]
    body = {b"\0": bytes([codec.PLAIN]) + rest, b"\1": bytes([codec.ZSTD]) + compress(rest)[len(MAGIC) :]}.get(
        form, rest
    )
    try:
        batch = codec.decode(body, schema)
    except FormatError:
        if _is_small(body, schema):
            assert _strangers(body, schema) is None
        return
    batch.check()
    for times in batch.times:
        assert (np.diff(times) >= 0).all()
        assert times.min(initial=0) >= 0
    if batch.samples > SAMPLES_MAX:
        return
    assert same(codec.decode(codec.encode(batch), schema), batch)
    if _is_small(body, schema):
        read = _strangers(body, schema)
        assert read is not None
        assert ([each.tolist() for each in batch.times], [each.tolist() for each in batch.values]) == read
    # together with another, whatever it holds, it is the same batch
    other = codec.decode(codec.encode(_small(SCHEMAS[1])), SCHEMAS[1])
    before, found, after = codec.decode_many(
        [(codec.encode(other), SCHEMAS[1]), (body, schema), (codec.encode(other), SCHEMAS[1])]
    )
    assert same(before, other)
    assert same(found, batch)
    assert same(after, other)


def same(one: Batch, other: Batch) -> bool:
    pairs = zip((*one.times, *one.values), (*other.times, *other.values), strict=True)
    return all(np.array_equal(left, right) for left, right in pairs)


def _is_small(body: bytes, schema: Schema) -> bool:
    """Whether somebody who takes one bit after the other is done in time."""
    try:
        return len(body) <= 256 and codec._head(codec._inflated(body, 4096), schema).numbers <= 500
    except FormatError:
        return False


def _strangers(body: bytes, schema: Schema) -> tuple[list[list[int]], list[list[int]]] | None:
    """What a reader makes of it that was written from the document alone; None if it refuses it."""
    try:
        found = stranger_codec.read(body, list(schema.groups))
    except stranger_codec.RefusedError:
        return None
    return found.times, found.values


def _small(schema: Schema) -> Batch:
    rows = np.arange(3, dtype=np.int64)
    return Batch(schema, (rows,) * schema.group_count, (rows * 7,) * len(schema.columns))
