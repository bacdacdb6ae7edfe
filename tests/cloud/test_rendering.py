"""The text of an event is what ``json`` would write of it, whatever was in the columns."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from carnet.batch import Batch, physical
from carnet.codec import encode
from carnet.errors import FormatError
from carnet.readings import NUMERALS_MAX
from carnet.schema import Column, Schema
from carnet.sealedevents import READINGS_TYPE
from carnet.times import Anchor, Unresolved, intervals
from carnet.transforms import Transform
from carnet_cloud.event import Payload, Piece, pack, unpack
from carnet_cloud.rendering import read, render

RECEIPT_MS = 1_760_000_000_000
BOOT = b"bootboot"
ANCHOR = Anchor(BOOT, 1_000_000, RECEIPT_MS - 1_000_000, RECEIPT_MS - 999_958)
SECOND = Transform(interval_ms=1000)
SCHEMA = Schema(
    (
        Column("Vehicle.Speed", "km/h", "int", "0.1", "0", SECOND, 0),
        Column("Vehicle.Count", "", "int", "1", "0", SECOND, 0, labels=((0, "aus „hier“"), (1, "on"))),
        Column("Vehicle.Big", "", "uint", "3", "-1", SECOND, 0),
        Column("Vehicle.Huge", "", "int", "1e+290", "0.5", SECOND, 1),
        Column("Vehicle.Single", "°C", "float32", "1", "0", SECOND, 1),
        Column("Vehicle.Double", "", "float64", "0.5", "1", SECOND, 2),
    )
)


def expected(payload: Payload, batches: list[Batch]) -> bytes:
    """The event by way of ``json.dumps`` of what it holds."""
    columns: list[dict[str, Any]] = []
    for piece, batch in zip(payload.pieces, batches, strict=True):
        for column, raw in zip(batch.schema.columns, batch.values, strict=True):
            if not len(raw):
                # its recipient is told of readings, not of what was silent
                continue
            ends = intervals(piece.anchor.boot_id, batch.times[column.group], [piece.anchor], payload.receipt_ms)
            assert not isinstance(ends, Unresolved)
            entry: dict[str, Any] = {
                "path": column.path,
                "unit": column.unit,
                "transform": column.transform.document(),
                **({"field": column.field} if column.field else {}),
                **({"labels": {str(n): text for n, text in column.labels}} if column.labels else {}),
                "t_ms": ((ends[0] + ends[1]) // 2).tolist(),
                "uncertainty_ms": int(((ends[1] - ends[0]).max(initial=0) + 1) // 2),
                "v": [v if np.isfinite(float(v)) else None for v in physical(column, raw).tolist()],
            }
            columns.append(entry)
    latest = max((entry["t_ms"][-1] for entry in columns if entry["t_ms"]), default=payload.receipt_ms)
    event = {
        "specversion": "1.0",
        "id": payload.event_id.hex(),
        "source": payload.source,
        "type": READINGS_TYPE,
        "subject": payload.subject,
        "time": datetime.fromtimestamp(latest / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "record": payload.record,
            "generation": payload.generation,
            "reference": payload.reference,
            "log_position": 77,
            "receipt": None,
            "columns": columns,
        },
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def batch(source: np.random.Generator) -> Batch:
    """Every kind of column, each with what is difficult about it; sometimes a group is empty."""
    rows = [int(source.integers(0, 40)), int(source.integers(1, 40)), int(source.integers(0, 3))]
    times = tuple(np.sort(source.integers(0, 1_000_000, count)) for count in rows)
    single = source.normal(size=rows[1]).astype(np.float32)
    single[source.integers(0, rows[1])] = source.choice([np.nan, np.inf, -np.inf, 1.0])
    values = (
        source.integers(-300, 300, rows[0]),
        source.integers(0, 2, rows[0]),
        source.integers(-(2**63), 2**63 - 1, rows[0]),
        source.integers(-(2**40), 2**40, rows[1]),
        single.view(np.uint32).astype(np.int64),
        source.normal(size=rows[2]).view(np.int64),
    )
    return Batch(SCHEMA, times, values)


def payload_of(batches: list[Batch], name: int = 7) -> Payload:
    pieces = tuple(Piece(each.schema.hash, encode(each), ANCHOR) for each in batches)
    data = pack(
        Payload(bytes([name]) * 16, "rec_a", 3, 77, 'Polizze "7"]}}ü', "subject", "urn:carnet:t", RECEIPT_MS, pieces)
    )
    return unpack(data)


def test_an_event_is_written_as_json_would_write_it() -> None:
    """Byte for byte, for whole groups and pieces; texts of numbers that are remembered change nothing."""
    source = np.random.default_rng(4)
    for _ in range(40):
        sent = [[batch(source) for _ in range(int(source.integers(1, 3)))] for _ in range(3)]
        payloads = [payload_of(batches) for batches in sent]
        for payload, batches, found in zip(payloads, sent, read(payloads, lambda _: SCHEMA), strict=True):
            assert not isinstance(found, FormatError)
            assert render(payload, found) == expected(payload, batches)


def test_a_column_of_more_values_than_are_remembered_is_written_all_the_same() -> None:
    schema = Schema((Column("Vehicle.Odometer", "km", "int", "0.125", "7", SECOND, 0),))
    for first in (0, 500, 100_000, 0):
        values = np.arange(first, first + NUMERALS_MAX - 24, dtype=np.int64)
        sent = [Batch(schema, (np.arange(len(values), dtype=np.int64),), (values,))]
        (found,) = read([payload_of(sent)], lambda _: schema)
        assert not isinstance(found, FormatError)
        assert render(payload_of(sent), found) == expected(payload_of(sent), sent)


def test_a_malformed_payload_spoils_no_other() -> None:
    """It has its error in its place."""
    source = np.random.default_rng(5)
    sent = [batch(source) for _ in range(3)]
    payloads = [payload_of([each], n) for n, each in enumerate(sent)]
    broken = Payload(b"b" * 16, "r", 1, 1, "", "s", "u", RECEIPT_MS, (Piece(SCHEMA.hash, b"\xff\xff", ANCHOR),))
    found = read([payloads[0], broken, *payloads[1:]], lambda _: SCHEMA)
    assert [isinstance(each, FormatError) for each in found] == [False, True, False, False]


def test_a_time_that_its_anchor_does_not_tell_is_no_event() -> None:
    """The gate let nothing such through: it is an error, not a guess."""
    sent = batch(np.random.default_rng(6))
    other = replace(payload_of([sent]), receipt_ms=0)
    (found,) = read([other], lambda _: SCHEMA)
    assert not isinstance(found, FormatError)
    with pytest.raises(FormatError, match="anchor"):
        render(other, found)
