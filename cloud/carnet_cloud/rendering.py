"""The CloudEvents that recipients get, made of outbox payloads in the moment of sending.

Law 6: every event names its record, generation and place in the log. The text is what ``json`` would write; it is put
together here because times are one for all columns of a group, and values of a column repeat.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from carnet.batch import Batch, physical
from carnet.codec import decode, decode_many
from carnet.errors import FormatError
from carnet.schema import Column, Schema
from carnet.times import Unresolved, intervals
from carnet_cloud.boxes import KEPT_BYTES_MAX, parse_schema
from carnet_cloud.event import Payload, Piece

EVENT_TYPE = "carnet.readings.v1"
INFLATED_BYTES_MAX = 1 << 24
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
NUMERALS_MAX = 1024
"""Values of one column whose text is remembered."""


def read(payloads: Sequence[Payload], schema_of: Callable[[bytes], Schema]) -> list[list[Batch] | FormatError]:
    """The columns of many payloads at once, per payload one batch for each piece; a malformed one gives its error in
    its place and spoils no other.
    """
    try:
        items = [(piece.body, schema_of(piece.schema_hash)) for each in payloads for piece in each.pieces]
        batches = iter(decode_many(items, size_max=INFLATED_BYTES_MAX))
        return [[next(batches) for _ in each.pieces] for each in payloads]
    except FormatError:
        return [_read_one(each, schema_of) for each in payloads]


def render(payload: Payload, batches: Sequence[Batch]) -> bytes:
    """The CloudEvent (structured mode, UTF-8 JSON) that the recipient gets; ``batches`` as `read` gave them.

    Columns hold ``t_ms`` (milliseconds since 1970, the middle of the interval in which the truth lies),
    ``uncertainty_ms`` (half of the widest interval) and ``v`` (physical values, in the order of time).
    """
    columns: list[str] = []
    latest_ms = -1
    for piece, batch in zip(payload.pieces, batches, strict=True):
        times = _times(piece, batch, payload.receipt_ms)
        latest_ms = max([latest_ms, *(int(middle[-1]) for middle, _ in times if len(middle))])
        columns += _columns(batch, times)
    latest_ms = payload.receipt_ms if latest_ms < 0 else latest_ms
    event = {
        "specversion": "1.0",
        "id": payload.event_id.hex(),
        "source": payload.source,
        "type": EVENT_TYPE,
        "subject": payload.subject,
        "time": datetime.fromtimestamp(latest_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "record": payload.record,
            "generation": payload.generation,
            "reference": payload.reference,
            "log_position": payload.log_position,
            "receipt": None,
            "columns": [],
        },
    }
    return f"{_json(event).removesuffix(']}}')}{','.join(columns)}]}}}}".encode()


def _read_one(payload: Payload, schema_of: Callable[[bytes], Schema]) -> list[Batch] | FormatError:
    try:
        pieces = [(piece.body, schema_of(piece.schema_hash)) for piece in payload.pieces]
        return [decode(body, schema, size_max=INFLATED_BYTES_MAX) for body, schema in pieces]
    except FormatError as error:
        return error


def _times(piece: Piece, batch: Batch, receipt_ms: int) -> list[tuple[NDArray[np.int64], int]]:
    """Per group the middles of the capture intervals and half of the widest of them."""
    found = []
    for group in batch.times:
        ends = intervals(piece.anchor.boot_id, group, [piece.anchor], receipt_ms)
        if isinstance(ends, Unresolved):
            raise FormatError("payload_time", "an outbox payload has a time that its anchor does not tell")
        earliest, latest = ends
        found.append(((earliest + latest) // 2, int(((latest - earliest).max(initial=0) + 1) // 2)))
    return found


def _columns(batch: Batch, times: list[tuple[NDArray[np.int64], int]]) -> list[str]:
    """Every column of a batch as JSON."""
    whens = [f',"t_ms":{_json(middle.tolist())},"uncertainty_ms":{around},"v":[' for middle, around in times]
    return [
        f"{opening}{whens[column.group]}{_values(column, raw)}]}}"
        for opening, column, raw in zip(_openings(batch.schema), batch.schema.columns, batch.values, strict=True)
    ]


def _openings(schema: Schema) -> tuple[str, ...]:
    """What is the same in every event, per column."""
    document = schema.document
    return _kept_openings(document) if len(document) <= KEPT_BYTES_MAX else tuple(map(_opening, schema.columns))


@lru_cache(maxsize=2048)
def _kept_openings(document: bytes) -> tuple[str, ...]:
    return tuple(map(_opening, parse_schema(document).columns))


def _opening(column: Column) -> str:
    """A column's members that stand before its times, and no closing bracket."""
    entry: dict[str, object] = {"path": column.path, "unit": column.unit, "transform": column.transform.document()}
    if column.field:
        entry["field"] = column.field
    if column.labels:
        entry["labels"] = {str(number): text for number, text in column.labels}
    return _json(entry)[:-1]


def _values(column: Column, raw: NDArray[np.int64]) -> str:
    """The values of a column, without brackets. Integers repeat from event to event: their text is made once."""
    if column.kind.startswith("float"):
        return ",".join(_texts(column, raw))
    numbers = raw.tolist()
    known = _numerals(column.kind, column.factor, column.offset)
    try:
        return ",".join(map(known.__getitem__, numbers))
    except KeyError:
        new = [number for number in set(numbers) if number not in known]
    if len(known) + len(new) > NUMERALS_MAX:
        return ",".join(_texts(column, raw))
    known.update(zip(new, _texts(column, np.array(new, np.int64)), strict=True))
    return ",".join(map(known.__getitem__, numbers))


@lru_cache(maxsize=256)
def _numerals(kind: str, factor: str, offset: str) -> dict[int, str]:  # noqa: ARG001 - what the texts depend on
    """Raw value -> the text of its physical value; only ever added to, since threads share it."""
    return {}


def _texts(column: Column, raw: NDArray[np.int64]) -> list[str]:
    """The physical values as JSON, which has no NaN and no infinity: such a reading is null."""
    values = physical(column, raw)
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return list(map(repr, values.tolist()))
    return [repr(value) if np.isfinite(value) else "null" for value in values.tolist()]
