"""Open an event that only its recipient can read: the text of the event that the cloud would have written otherwise.

Law: nothing of an event is believed that its sealed part is not bound to, but for what is the cloud's word everywhere:
ids, clock and receipt. ``docs/sealed-format.md`` is the contract.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from carnet import canonical, fields, hashes, ids
from carnet.errors import FormatError, LocalProtocolError
from carnet.keys import KID_BYTES, BoxKey
from carnet.readings import columns_of, times_of, with_columns
from carnet.schema import Schema
from carnet.sealed import open_body, parse_sealed
from carnet.times import Anchor

READINGS_TYPE: Final = "carnet.readings.v1"
SEALED_TYPE: Final = "carnet.sealed.v1"
PIECES_MAX: Final = 1024
_KEPT: Final = ("record", "generation", "reference", "log_position", "receipt")
_EVENT: Final = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data")
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Piece:
    """One sealed body of an event, and what is needed to read it."""

    body: bytes
    schema: Schema
    anchor: Anchor


@dataclass(slots=True)
class Opener:
    """Opens events with one of these keys, and remembers the parts it has seen: one that comes again is of the same
    event.
    """

    keys: tuple[BoxKey, ...]
    _seen: dict[bytes, str] = field(default_factory=dict)

    def open(self, data: bytes) -> bytes:
        """The event with its readings as columns; one that is not sealed comes back as it is.

        FormatError ``event_malformed``, what `carnet.sealed.open_body` refuses, ``after_receipt``, ``replayed``.
        """
        event = _parse(data)
        if event.get("type") != SEALED_TYPE:
            return data
        record, receipt_ms, pieces = _members(event)
        columns = [column for piece in pieces for column in self._columns(piece, record, receipt_ms, event["id"])]
        kept = {name: event["data"][name] for name in _KEPT}
        return with_columns({**event, "type": READINGS_TYPE, "data": kept}, columns)

    def _columns(self, piece: Piece, record: bytes, receipt_ms: int, event_id: str) -> list[str]:
        sealed = parse_sealed(piece.body, piece.schema)
        key = next((key for key in self.keys if key.kid == sealed.declaration.kid), self.keys[0])
        batch = open_body(piece.body, piece.schema, key, record, piece.anchor.boot_id)
        columns = columns_of(batch, times_of(batch, piece.anchor, receipt_ms))
        part = hashes.digest(hashes.BOX, sealed.part)
        if self._seen.setdefault(part, event_id) != event_id:
            raise FormatError("replayed", "the same readings came under the id of another event")
        return columns


def _parse(data: bytes) -> dict[str, Any]:
    try:
        event = json.loads(data, object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise FormatError("event_malformed", "this is not an event in JSON") from None
    if not isinstance(event, dict):
        raise FormatError("event_malformed", "this is not an event in JSON")
    return event


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """What stands twice means one thing to one reader and another to the next."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _members(event: dict[str, Any]) -> tuple[bytes, int, list[Piece]]:
    """Record, receipt and pieces of a sealed event."""
    try:
        fields.members(event, *_EVENT)
        fields.text(event["id"], _ID)
        *_, receipt_ms, pieces = fields.members(event["data"], *_KEPT, "receipt_ms", "sealed")
        name = event["data"]["record"]
        record = ids.parse_id(name if isinstance(name, str) else "", ids.RECORD)
        return record, fields.number(receipt_ms), [_piece(each) for each in fields.items(pieces, 1, PIECES_MAX)]
    except (FormatError, LocalProtocolError) as error:
        raise FormatError("event_malformed", f"not an event as docs/sealed-format.md has it: {error}") from None


def _piece(value: object) -> Piece:
    """A piece; its ``kid`` is for people and programs that pass it on: the body has its own."""
    kid, body, schema, anchor = fields.members(value, "kid", "body", "schema", "anchor")
    fields.hex_bytes(kid, KID_BYTES)
    boot_id, *times = fields.members(anchor, "boot_id", "boot_ms", "earliest_ms", "latest_ms")
    numbers = [fields.number(time_ms) for time_ms in times]
    return Piece(_base64(body), Schema.parse(canonical.encode(schema)), Anchor(fields.hex_bytes(boot_id, 8), *numbers))


def _base64(value: object) -> bytes:
    text = fields.text(value, _BASE64)
    if len(text) % 4 or base64.b64encode(data := base64.b64decode(text)).decode("ascii") != text:
        raise FormatError("body_malformed", "a text is not base64")
    return data
