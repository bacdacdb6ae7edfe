"""The CloudEvents that recipients get, made of outbox payloads in the moment of sending.

Law 6: every event names its record, generation and place in the log. What is sealed to its recipient goes out as it
came (``docs/sealed-format.md``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carnet.batch import Batch
from carnet.codec import decode, decode_many
from carnet.errors import FormatError
from carnet.readings import columns_of, middles, times_of, timestamp, with_columns
from carnet.schema import Schema
from carnet.sealed import SealedBody, is_sealed, parse_sealed
from carnet.sealedevents import READINGS_TYPE, SEALED_TYPE
from carnet_cloud.event import Payload, Piece

INFLATED_BYTES_MAX = 1 << 24
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Closed:
    """A piece that only its recipient can read."""

    schema: Schema
    sealed: SealedBody


Content = Batch | Closed


def read(payloads: Sequence[Payload], schema_of: Callable[[bytes], Schema]) -> list[list[Content] | FormatError]:
    """The columns of many payloads at once, per payload one content for each piece; a malformed one gives its error in
    its place and spoils no other.
    """
    pieces = [piece for each in payloads for piece in each.pieces if not is_sealed(piece.body)]
    try:
        items = [(piece.body, schema_of(piece.schema_hash)) for piece in pieces]
        batches = iter(decode_many(items, size_max=INFLATED_BYTES_MAX))
        return [[_content(piece, batches, schema_of) for piece in each.pieces] for each in payloads]
    except FormatError:
        return [_read_one(each, schema_of) for each in payloads]


def render(payload: Payload, contents: Sequence[Content]) -> bytes:
    """The CloudEvent (structured mode, UTF-8 JSON) that the recipient gets; ``contents`` as `read` gave them.

    Columns hold ``t_ms`` (milliseconds since 1970, the middle of the interval in which the truth lies),
    ``uncertainty_ms`` (half of the widest interval) and ``v`` (physical values, in the order of time).
    """
    closed = [(piece, each) for piece, each in zip(payload.pieces, contents, strict=True) if isinstance(each, Closed)]
    if closed:
        return _render_closed(payload, closed)
    columns: list[str] = []
    latest_ms = -1
    for piece, batch in zip(payload.pieces, contents, strict=True):
        assert isinstance(batch, Batch)
        times = times_of(batch, piece.anchor, payload.receipt_ms)
        latest_ms = max([latest_ms, *(int(middle[-1]) for middle, _ in times if len(middle))])
        columns += columns_of(batch, times)
    return with_columns(_event(payload, READINGS_TYPE, payload.receipt_ms if latest_ms < 0 else latest_ms), columns)


def _render_closed(payload: Payload, closed: Sequence[tuple[Piece, Closed]]) -> bytes:
    """The event of a record that is sealed to its recipient: the gate lets no other piece of it through."""
    lasts = [(piece.anchor, np.array([each.sealed.declaration.last_ms], np.int64)) for piece, each in closed]
    latest_ms = max(int(middles(anchor, last, payload.receipt_ms)[0][0]) for anchor, last in lasts)
    event = _event(payload, SEALED_TYPE, latest_ms)
    event["data"]["receipt_ms"] = payload.receipt_ms
    event["data"]["sealed"] = [_closed(piece, each) for piece, each in closed]
    return _json(event).encode()


def _closed(piece: Piece, closed: Closed) -> dict[str, object]:
    anchor = piece.anchor
    return {
        "kid": closed.sealed.declaration.kid.hex(),
        "body": base64.b64encode(piece.body).decode("ascii"),
        "schema": json.loads(closed.schema.document),
        "anchor": {
            "boot_id": anchor.boot_id.hex(),
            "boot_ms": anchor.boot_ms,
            "earliest_ms": anchor.earliest_ms,
            "latest_ms": anchor.latest_ms,
        },
    }


def _event(payload: Payload, kind: str, time_ms: int) -> dict[str, Any]:
    """All of an event but its readings."""
    return {
        "specversion": "1.0",
        "id": payload.event_id.hex(),
        "source": payload.source,
        "type": kind,
        "subject": payload.subject,
        "time": timestamp(time_ms),
        "datacontenttype": "application/json",
        "data": {
            "record": payload.record,
            "generation": payload.generation,
            "reference": payload.reference,
            "log_position": payload.log_position,
            "receipt": None,
        },
    }


def _content(piece: Piece, batches: Iterator[Batch], schema_of: Callable[[bytes], Schema]) -> Content:
    """The next of the batches, if the piece is one."""
    if not is_sealed(piece.body):
        return next(batches)
    schema = schema_of(piece.schema_hash)
    return Closed(schema, parse_sealed(piece.body, schema))


def _read_one(payload: Payload, schema_of: Callable[[bytes], Schema]) -> list[Content] | FormatError:
    try:
        pieces = [(piece, schema_of(piece.schema_hash)) for piece in payload.pieces]
        batches = iter([decode(p.body, s, size_max=INFLATED_BYTES_MAX) for p, s in pieces if not is_sealed(p.body)])
        return [_content(piece, batches, schema_of) for piece, _ in pieces]
    except FormatError as error:
        return error
