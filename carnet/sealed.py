"""A sealed body: readings that only their recipient opens, behind a declaration that the cloud judges in their place.

Law: the cloud judges what is declared, the recipient checks that nothing else is inside. What is sealed is bound to its
declaration, record, boot and schema, so none of them can be exchanged. ``docs/batch-format.md`` is the contract.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from carnet import hashes, varint
from carnet.batch import Batch
from carnet.codec import NUMBERS_MAX, decode, encode
from carnet.errors import FormatError, LocalProtocolError, OpenError
from carnet.ids import ID_BYTES
from carnet.keys import KID_BYTES, BoxKey, key_id
from carnet.limits import NUMBER_MAX
from carnet.padding import is_padded_length, pad, unpad
from carnet.schema import Schema
from carnet.sealedbox import OVERHEAD, open_sealed, seal

FORM: Final = 2
"""First byte of a sealed body, where others have 0 or 1."""
_BINDING_BYTES: Final = hashes.PERSONS[hashes.SEALED]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a car says of readings that the cloud cannot read: to whose key they are sealed, between which moments of
    BOOTTIME they were captured, and how many times each group of the schema has.
    """

    kid: bytes
    first_ms: int
    last_ms: int
    counts: tuple[int, ...]

    @staticmethod
    def of(batch: Batch, kid: bytes) -> Declaration:
        """What is true of a batch."""
        ends = list(_ends(batch))
        first_ms, last_ms = min(first for first, _ in ends), max(last for _, last in ends)
        return Declaration(kid, first_ms, last_ms, tuple(len(times) for times in batch.times))

    def encode(self) -> bytes:
        numbers = (self.first_ms, self.last_ms - self.first_ms, *self.counts)
        return bytes([FORM]) + self.kid + b"".join(map(varint.encode_one, numbers))

    def samples(self, schema: Schema) -> Counter[str]:
        """Declared samples by path."""
        found: Counter[str] = Counter()
        for column in schema.columns:
            found[column.path] += self.counts[column.group]
        return found


@dataclass(frozen=True, slots=True)
class SealedBody:
    """A sealed body as the cloud sees it; ``part`` is the box that only the recipient opens."""

    declaration: Declaration
    part: bytes


@dataclass(frozen=True, slots=True)
class Context:
    """What a sealed part is bound to beside its declaration: ids and hash as bytes."""

    record: bytes
    boot_id: bytes
    schema_hash: bytes

    def binding(self, declaration: bytes) -> bytes:
        """The 32 bytes at the beginning of what is sealed."""
        if (len(self.record), len(self.boot_id), len(self.schema_hash)) != (ID_BYTES, 8, 16):
            raise LocalProtocolError("context_lengths", "an id or hash that a part is bound to has a wrong length")
        return hashes.digest(hashes.SEALED, self.record + self.boot_id + self.schema_hash + declaration)


def is_sealed(body: bytes) -> bool:
    """Whether this body of a data box is a sealed one."""
    return body[:1] == bytes([FORM])


def seal_body(batch: Batch, public: bytes, record: bytes, boot_id: bytes, seed32: bytes) -> bytes:
    """The sealed body of a batch for the holder of ``public``; ``seed32``: 32 random bytes for this body alone."""
    declaration = Declaration.of(batch, key_id(public)).encode()
    binding = Context(record, boot_id, batch.schema.hash).binding(declaration)
    return declaration + seal(pad(binding + encode(batch)), public, seed32)


def parse_sealed(body: bytes, schema: Schema) -> SealedBody:
    """Declaration and sealed part; FormatError ``sealed_…``, ``varint_malformed`` or ``batch_counts``."""
    if not is_sealed(body) or len(body) < 1 + KID_BYTES:
        raise FormatError("sealed_size", "a sealed body ends within its key id")
    end = varint.end(body, 1 + KID_BYTES, 2 + schema.group_count)
    first_ms, width_ms, *counts = varint.decode(body[1 + KID_BYTES : end]).tolist()
    if first_ms + width_ms > NUMBER_MAX:
        raise FormatError("sealed_times", "a sealed body declares a time of 2^53 or more")
    declaration = Declaration(body[1 : 1 + KID_BYTES], first_ms, first_ms + width_ms, tuple(counts))
    numbers = sum(counts) + sum(counts[group] for group in schema.groups)
    if not numbers or numbers > NUMBERS_MAX:
        raise FormatError("batch_counts", "a sealed body declares no sample, or more than it may")
    if not is_padded_length(len(body) - end - OVERHEAD):
        raise FormatError("sealed_size", "the sealed part of a body cannot have this size")
    return SealedBody(declaration, body[end:])


def open_body(body: bytes, schema: Schema, key: BoxKey, record: bytes, boot_id: bytes) -> Batch:
    """The readings in a sealed body, which agree with what was declared of them.

    In this order: FormatError as `parse_sealed`; OpenError ``box_key_differs``, ``box_does_not_open``,
    ``padding_wrong``, ``binding_differs``; FormatError of the codec; FormatError ``declared_counts`` and
    ``declared_times``: the car has sealed other readings than it declared.
    """
    sealed = parse_sealed(body, schema)
    if sealed.declaration.kid != key.kid:
        wanted = sealed.declaration.kid.hex()
        raise OpenError("box_key_differs", f"the readings are sealed to the key {wanted}, which is not at hand")
    plain = unpad(open_sealed(sealed.part, key))
    binding = Context(record, boot_id, schema.hash).binding(body[: len(body) - len(sealed.part)])
    if not hmac.compare_digest(plain[:_BINDING_BYTES], binding):
        raise OpenError("binding_differs", "the readings were sealed under another declaration, record or schema")
    batch = decode(plain[_BINDING_BYTES:], schema)
    _check(batch, sealed.declaration)
    return batch


def _check(batch: Batch, declared: Declaration) -> None:
    if tuple(len(times) for times in batch.times) != declared.counts:
        raise FormatError("declared_counts", "the car has sealed more or fewer samples than it declared")
    if any(first < declared.first_ms or last > declared.last_ms for first, last in _ends(batch)):
        raise FormatError("declared_times", "the car has sealed readings of another time than it declared")


def _ends(batch: Batch) -> Iterator[tuple[int, int]]:
    """Per group that is not empty from when to when it was captured; a row of an aggregate stands for its window."""
    for times, window_ms in zip(batch.times, batch.schema.windows, strict=True):
        if len(times):
            first_ms, last_ms = int(times[0]), int(times[-1])
            yield (first_ms - 1) // window_ms * window_ms if window_ms else first_ms, last_ms
