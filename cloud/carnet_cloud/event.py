"""One disclosure: what of one envelope goes to one recipient under one record, from the outbox to the recipient's eyes.

In the outbox an event keeps the box bodies as they came out of the car (columns, compressed); only `render`, called in
the moment of sending, unrolls them. Law 6: every event names its record, generation and place in the log.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carnet import hashes
from carnet.batch import physical
from carnet.codec import decode
from carnet.errors import FormatError
from carnet.ids import device_text
from carnet.schema import Schema
from carnet.times import Anchor, Unresolved, intervals

EVENT_TYPE = "carnet.readings.v1"
INFLATED_BYTES_MAX = 1 << 24


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of an event that came out of one box: a codec body under a schema, and the clock it is told by."""

    schema_hash: bytes
    body: bytes
    anchor: Anchor


@dataclass(frozen=True, slots=True)
class Payload:
    """An event as it lies in the outbox. ``subject`` is the recipient's own pseudonym of the vehicle."""

    event_id: bytes
    record: str
    generation: int
    reference: str
    subject: str
    source: str
    receipt_ms: int
    pieces: tuple[Piece, ...]


def event_id(device: bytes, stream: bytes, seq: int, record: str, recipient: str) -> bytes:
    """16 bytes that name a disclosure for ever: a restored cloud repeats them and never invents a second one."""
    return hashes.digest(hashes.EVENT, device + stream + seq.to_bytes(8, "big") + f"{record}\0{recipient}".encode())


def pseudonym(vehicle: bytes, recipient: str, secret: bytes) -> str:
    """The vehicle's name for one recipient, in the form of a device id: two recipients cannot join their data by it."""
    digest = hashlib.blake2b(vehicle + recipient.encode(), digest_size=16, key=secret, person=b"carnet subject")
    return device_text(digest.digest())


def pack(payload: Payload) -> bytes:
    """Bytes for the outbox: length (4) | JSON | the bodies one after the other."""
    header = json.dumps(
        {
            "event": payload.event_id.hex(),
            "generation": payload.generation,
            "pieces": [_piece_header(piece) for piece in payload.pieces],
            "receipt_ms": payload.receipt_ms,
            "record": payload.record,
            "reference": payload.reference,
            "source": payload.source,
            "subject": payload.subject,
        },
        separators=(",", ":"),
    ).encode()
    return len(header).to_bytes(4, "big") + header + b"".join(piece.body for piece in payload.pieces)


def unpack(data: bytes) -> Payload:
    """The payload again; FormatError if the bytes are not what `pack` made."""
    size = int.from_bytes(data[:4], "big")
    header = json.loads(data[4 : 4 + size])
    at = 4 + size
    pieces: list[Piece] = []
    try:
        assert isinstance(header, dict)
        for piece in header["pieces"]:
            body = data[at : at + piece["size"]]
            at += piece["size"]
            pieces.append(
                Piece(
                    bytes.fromhex(piece["schema"]),
                    body,
                    Anchor(bytes.fromhex(piece["anchor"][0]), *piece["anchor"][1:]),
                )
            )
        if at != len(data):
            raise FormatError("payload_length", "an outbox payload has the wrong length")
        return Payload(
            bytes.fromhex(header["event"]), header["record"], header["generation"], header["reference"],
            header["subject"],
            header["source"], header["receipt_ms"], tuple(pieces),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AssertionError) as e:
        raise FormatError("payload_malformed", "an outbox payload is malformed") from e


def render(payload: Payload, schema_of: Callable[[bytes], Schema]) -> bytes:
    """The CloudEvent (structured mode, UTF-8 JSON) that the recipient gets.

    Columns hold ``t_ms`` (milliseconds since 1970, the middle of the interval in which the truth lies),
    ``uncertainty_ms`` (half of the widest interval) and ``v`` (physical values, in the order of time).
    """
    columns = [
        column
        for piece in payload.pieces
        for column in _columns(piece, schema_of(piece.schema_hash), payload.receipt_ms)
    ]
    latest = max((c["t_ms"][-1] for c in columns if c["t_ms"]), default=payload.receipt_ms)
    event = {
        "specversion": "1.0",
        "id": payload.event_id.hex(),
        "source": payload.source,
        "type": EVENT_TYPE,
        "subject": payload.subject,
        "time": datetime.fromtimestamp(latest / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "record": payload.record,
            "generation": payload.generation,
            "reference": payload.reference,
            "log_position": 0,
            "receipt": None,
            "columns": columns,
        },
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _piece_header(piece: Piece) -> dict[str, object]:
    anchor = piece.anchor
    return {
        "anchor": [anchor.boot_id.hex(), anchor.boot_ms, anchor.earliest_ms, anchor.latest_ms],
        "schema": piece.schema_hash.hex(),
        "size": len(piece.body),
    }


def _columns(piece: Piece, schema: Schema, receipt_ms: int) -> list[dict[str, Any]]:
    batch = decode(piece.body, schema, size_max=INFLATED_BYTES_MAX)
    times = []
    for group in batch.times:
        found = intervals(piece.anchor.boot_id, group, [piece.anchor], receipt_ms)
        if isinstance(found, Unresolved):
            raise FormatError("payload_time", "an outbox payload has a time that its anchor does not tell")
        times.append(found)
    columns: list[dict[str, Any]] = []
    for column, raw in zip(schema.columns, batch.values, strict=True):
        earliest, latest = times[column.group]
        entry: dict[str, Any] = {"path": column.path, "unit": column.unit, "transform": column.transform.document()}
        if column.field:
            entry["field"] = column.field
        if column.labels:
            entry["labels"] = {str(number): text for number, text in column.labels}
        entry["t_ms"] = ((earliest + latest) // 2).tolist()
        entry["uncertainty_ms"] = int(((latest - earliest).max(initial=0) + 1) // 2)
        entry["v"] = _finite(physical(column, raw))
        columns.append(entry)
    return columns


def _finite(values: NDArray[Any]) -> list[object]:
    """JSON has no NaN and no infinity: such a reading is null."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return list(values.tolist())
    return [v if np.isfinite(v) else None for v in values.tolist()]
