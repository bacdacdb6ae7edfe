"""Open the boxes of an envelope and read their columns.

Law: a key or schema that is not here is nobody's fault: neither acknowledgement nor refusal follows, and the device
asks again. A box that its own signature vouches for and that cannot be read is refused for good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from carnet.batch import Batch
from carnet.box import Prelude, open_box
from carnet.codec import decode, decode_many
from carnet.envelope import Envelope
from carnet.errors import FormatError, UnavailableError
from carnet.keys import BoxKey
from carnet.schema import Schema
from carnet.sealed import SealedBody, is_sealed, parse_sealed
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
    kid: ClassVar[None] = None
    """Nobody but the cloud opens it."""

    @property
    def schema(self) -> Schema:
        return self.batch.schema

    @property
    def counts(self) -> Counter[str]:
        """Samples by path."""
        found: Counter[str] = Counter()
        for column, values in zip(self.batch.schema.columns, self.batch.values, strict=True):
            found[column.path] += len(values)
        return found


@dataclass(frozen=True, slots=True)
class SealedBox:
    """One data box whose readings only their recipient opens: what the car declares of them."""

    prelude: Prelude
    body: bytes
    schema: Schema
    sealed: SealedBody

    @property
    def kid(self) -> bytes:
        """Of the key that opens it."""
        return self.sealed.declaration.kid

    @property
    def counts(self) -> Counter[str]:
        """Declared samples by path."""
        return self.sealed.declaration.samples(self.schema)


DataBox = ReadBox | SealedBox


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


def read_boxes(boxes: Sequence[tuple[OpenBox, Schema]]) -> list[DataBox | FormatError]:
    """The columns of many boxes at once; a malformed one gives its error in its place and spoils no other."""
    plain = [(box, schema) for box, schema in boxes if not is_sealed(box.body)]
    items = [(box.body, schema) for box, schema in plain]
    try:
        batches: list[Batch | FormatError] = [*decode_many(items, size_max=INFLATED_BYTES_MAX)]
    except FormatError:
        batches = [_read_one(body, schema) for body, schema in items]
    each = iter(batches)
    return [_declared(box, schema) if is_sealed(box.body) else _read(box, next(each)) for box, schema in boxes]


def _read(box: OpenBox, batch: Batch | FormatError) -> DataBox | FormatError:
    return batch if isinstance(batch, FormatError) else ReadBox(box.prelude, box.body, batch)


def _declared(box: OpenBox, schema: Schema) -> DataBox | FormatError:
    if len(box.prelude.records) != 1:
        return FormatError("sealed_records", "readings that are sealed to a recipient belong to exactly one record")
    try:
        return SealedBox(box.prelude, box.body, schema, parse_sealed(box.body, schema))
    except FormatError as error:
        return error


def _read_one(body: bytes, schema: Schema) -> Batch | FormatError:
    try:
        return decode(body, schema, size_max=INFLATED_BYTES_MAX)
    except FormatError as error:
        return error
