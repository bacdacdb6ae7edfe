"""The columns of an event as JSON: what a recipient gets of a batch, whoever writes it out.

Law: the cloud (of what it can read) and a recipient's own tool (of what only that can) write the same text. It is what
``json`` would write; it is put together here because times are one for all columns of a group, and values repeat.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from carnet.batch import Batch, physical
from carnet.errors import FormatError
from carnet.schema import Column, Schema
from carnet.times import Anchor, Unresolved, intervals

NUMERALS_MAX: Final = 1024
"""Values of one column whose text is remembered."""
KEPT_BYTES_MAX: Final = 1 << 16
"""Of a schema's document: of a longer one the openings are made again each time."""
Times = list[tuple[NDArray[np.int64], int]]
"""Per group the middles of the capture intervals and half of the widest of them."""
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def times_of(batch: Batch, anchor: Anchor, receipt_ms: int) -> Times:
    """When the rows of a batch were captured; FormatError if the anchor does not tell."""
    return [middles(anchor, group, receipt_ms) for group in batch.times]


def middles(anchor: Anchor, boot_ms: NDArray[np.int64], receipt_ms: int) -> tuple[NDArray[np.int64], int]:
    """The middle of each capture interval (ms since 1970), rounded down, and half of the widest, rounded up."""
    ends = intervals(anchor.boot_id, boot_ms, [anchor], receipt_ms)
    if isinstance(ends, Unresolved):
        raise FormatError(ends.value, "an event has a time that its anchor does not tell")
    earliest, latest = ends
    return (earliest + latest) // 2, int(((latest - earliest).max(initial=0) + 1) // 2)


def columns_of(batch: Batch, times: Times) -> list[str]:
    """Every column of a batch that has a sample, as JSON: a car names all columns of its grants in each batch."""
    whens = [f',"t_ms":{_json(middle.tolist())},"uncertainty_ms":{around},"v":[' for middle, around in times]
    return [
        f"{opening}{whens[column.group]}{_values(column, raw)}]}}"
        for opening, column, raw in zip(_openings(batch.schema), batch.schema.columns, batch.values, strict=True)
        if len(raw)
    ]


def with_columns(event: dict[str, Any], columns: list[str]) -> bytes:
    """An event whose ``data`` ends with these columns, in UTF-8."""
    text = _json({**event, "data": {**event["data"], "columns": []}})
    return f"{text.removesuffix(']}}')}{','.join(columns)}]}}}}".encode()


def timestamp(time_ms: int) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _openings(schema: Schema) -> tuple[str, ...]:
    """What is the same in every event, per column."""
    document = schema.document
    return _kept_openings(document) if len(document) <= KEPT_BYTES_MAX else tuple(map(_opening, schema.columns))


@lru_cache(maxsize=2048)
def _kept_openings(document: bytes) -> tuple[str, ...]:
    return tuple(map(_opening, Schema.parse(document).columns))


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
