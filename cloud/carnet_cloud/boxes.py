"""Open the boxes of an envelope and read their columns.

Law: a key or schema that is not here is nobody's fault: neither acknowledgement nor refusal follows, and the device
asks again. A box that its own signature vouches for and that cannot be read is refused for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from carnet.batch import Batch
from carnet.box import Prelude, open_box
from carnet.codec import decode, decode_many
from carnet.envelope import Envelope
from carnet.errors import FormatError, UnavailableError
from carnet.keys import BoxKey
from carnet.schema import Schema
from carnet_cloud.store import Transaction

INFLATED_BYTES_MAX = 1 << 22
KEPT_BYTES_MAX = 1 << 16
"""A longer schema is parsed again each time: a lying unit could fill the memory with them."""


class SchemaMissing(UnavailableError):
    """Schemas that the device has to send again; ``hashes`` names them."""

    def __init__(self, hashes: Sequence[bytes]) -> None:
        super().__init__("schema_missing", "the device has to send a schema again")
        self.hashes = tuple(hashes)


@dataclass(frozen=True, slots=True)
class OpenBox:
    """One box, opened; ``body`` as it came out."""

    index: int
    prelude: Prelude
    body: bytes


@dataclass(frozen=True, slots=True)
class ReadBox:
    """One data box with its columns."""

    prelude: Prelude
    body: bytes
    batch: Batch


def open_boxes(envelope: Envelope, keys: Mapping[bytes, BoxKey]) -> list[OpenBox]:
    """Every box that has not been destroyed. UnavailableError ``cloud_key_unknown``, OpenError, FormatError."""
    opened = []
    for index, part in enumerate(envelope.parts):
        if part.box is None:
            continue
        key = keys.get(part.kid)
        if key is None:
            raise UnavailableError("cloud_key_unknown", "a box is sealed to a key that is not here")
        opened.append(OpenBox(index, *open_box(part.box, key, envelope.place(index))))
    return opened


def schemas_of(t: Transaction, device: bytes, boxes: Sequence[OpenBox]) -> list[Schema]:
    """The schema of every box; SchemaMissing names all that are not here."""
    found = [t.streams.schema(device, box.prelude.schema_hash) for box in boxes]
    missing = sorted({box.prelude.schema_hash for box, document in zip(boxes, found, strict=True) if document is None})
    if missing:
        raise SchemaMissing(missing)
    return [parse_schema(document) for document in found if document is not None]


def parse_schema(document: bytes) -> Schema:
    """Schemas repeat for months: the parsed form is kept under the bytes themselves, unless they are many."""
    return _kept_schema(document) if len(document) <= KEPT_BYTES_MAX else Schema.parse(document)


@lru_cache(maxsize=2048)
def _kept_schema(document: bytes) -> Schema:
    return Schema.parse(document)


def read_boxes(boxes: Sequence[tuple[OpenBox, Schema]]) -> list[ReadBox | FormatError]:
    """The columns of many boxes at once; a malformed one gives its error in its place and spoils no other."""
    items = [(box.body, schema) for box, schema in boxes]
    try:
        batches: list[Batch | FormatError] = [*decode_many(items, size_max=INFLATED_BYTES_MAX)]
    except FormatError:
        batches = [_read_one(body, schema) for body, schema in items]
    return [
        batch if isinstance(batch, FormatError) else ReadBox(box.prelude, box.body, batch)
        for (box, _), batch in zip(boxes, batches, strict=True)
    ]


def _read_one(body: bytes, schema: Schema) -> Batch | FormatError:
    try:
        return decode(body, schema, size_max=INFLATED_BYTES_MAX)
    except FormatError as error:
        return error
