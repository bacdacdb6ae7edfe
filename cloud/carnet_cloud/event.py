"""One disclosure: what of one envelope goes to one recipient under one record, from the outbox to the recipient's eyes.

In the outbox an event keeps the box bodies as they came out of the car (columns, compressed); only `rendering`, called
in the moment of sending, unrolls them. Law 6: every event names its record, generation and place in the log.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

from carnet import hashes
from carnet.errors import FormatError
from carnet.ids import device_text
from carnet.times import Anchor

_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of an event that came out of one box: a codec body under a schema, and the clock it is told by."""

    schema_hash: bytes
    body: bytes
    anchor: Anchor


@dataclass(frozen=True, slots=True)
class Payload:
    """An event as it lies in the outbox. ``log_position`` is that of the consent that made it, ``subject`` the
    recipient's own pseudonym of the vehicle.
    """

    event_id: bytes
    record: str
    generation: int
    log_position: int
    reference: str
    subject: str
    source: str
    receipt_ms: int
    pieces: tuple[Piece, ...]


def event_id(device: bytes, stream: bytes, seq: int, record: str, recipient: str) -> bytes:
    """16 bytes that name a disclosure for ever: a restored cloud repeats them and never invents a second one."""
    return hashes.digest(hashes.EVENT, device + stream + seq.to_bytes(8, "big") + f"{record}\0{recipient}".encode())


@lru_cache(maxsize=65_536)
def pseudonym(vehicle: bytes, recipient: str, secret: bytes) -> str:
    """The vehicle's name for one recipient, in the form of a device id: two recipients cannot join their data by it."""
    digest = hashlib.blake2b(vehicle + recipient.encode(), digest_size=16, key=secret, person=b"carnet subject")
    return device_text(digest.digest())


def pack(payload: Payload) -> bytes:
    """Bytes for the outbox: length (4) | JSON | the bodies one after the other."""
    header = _json(
        {
            "event": payload.event_id.hex(),
            "generation": payload.generation,
            "log_position": payload.log_position,
            "pieces": [_piece_header(piece) for piece in payload.pieces],
            "receipt_ms": payload.receipt_ms,
            "record": payload.record,
            "reference": payload.reference,
            "source": payload.source,
            "subject": payload.subject,
        }
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
            bytes.fromhex(header["event"]), header["record"], header["generation"], header.get("log_position", 0),
            header["reference"], header["subject"], header["source"], header["receipt_ms"], tuple(pieces),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AssertionError) as e:
        raise FormatError("payload_malformed", "an outbox payload is malformed") from e


def _piece_header(piece: Piece) -> dict[str, object]:
    anchor = piece.anchor
    return {
        "anchor": [anchor.boot_id.hex(), anchor.boot_ms, anchor.earliest_ms, anchor.latest_ms],
        "schema": piece.schema_hash.hex(),
        "size": len(piece.body),
    }
