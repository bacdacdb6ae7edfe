"""A box of an envelope: padding, binding to its place, prelude and body, sealed to one key.

Law: a box opens only in the place for which it was sealed (sender, stream, cut, index, type, keys); the binding that
ties it there also makes it committing, because every key that opens it must show the same 32 bytes first.
"""

from __future__ import annotations

import hmac
import itertools
import struct
from dataclasses import dataclass
from typing import Final

from carnet import hashes
from carnet.envelopetype import MAGIC, SUITE, EnvelopeType
from carnet.errors import FormatError, LocalProtocolError, OpenError
from carnet.ids import ID_BYTES
from carnet.keys import BoxKey
from carnet.limits import NUMBER_MAX
from carnet.padding import is_padded_length, pad, unpad
from carnet.sealedbox import OVERHEAD, open_disclosed, open_sealed, seal
from carnet.signals import DeliveryClass

RECORDS_MAX: Final = 64
CLASSES: Final = tuple(DeliveryClass)
"""Background, live, event: the place in this tuple is the byte on the wire."""
WALL_UNKNOWN: Final = 0
UNCERTAINTY_UNKNOWN: Final = 0xFFFFFFFF
NO_SCHEMA: Final = bytes(16)

_PLACE = struct.Struct(">4sBBB16s8s8s8s8s")
_PRELUDE = struct.Struct(">32sIIQ16s8sQQIBB")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a box belongs: all that its binding covers."""

    type: EnvelopeType
    index: int
    device: bytes
    stream: bytes
    cut: bytes
    device_kid: bytes
    box_kid: bytes

    def binding(self) -> bytes:
        """The 32 bytes at the beginning of the plaintext of a box in this place."""
        # struct would silently cut or fill a field of another length
        if tuple(map(len, (self.device, self.stream, self.cut, self.device_kid, self.box_kid))) != (16, 8, 8, 8, 8):
            raise LocalProtocolError("place_lengths", "an id or key id in the place of a box has a wrong length")
        packed = _PLACE.pack(
            MAGIC, SUITE, self.type, self.index, self.device, self.stream, self.cut, self.device_kid, self.box_kid
        )
        return hashes.digest(hashes.BINDING, packed)


@dataclass(frozen=True, slots=True)
class Prelude:
    """What stands before the body of a box; times in milliseconds, ids and hashes as bytes.

    ``records`` are the ten bytes of each record id, strictly ascending.
    ``wall_ms`` is 0 and ``wall_uncertainty_ms`` 0xffffffff if the device does not know the time.
    """

    epoch: int
    generation: int
    boot_id: bytes
    boot_ms: int
    wall_ms: int = WALL_UNKNOWN
    wall_uncertainty_ms: int = UNCERTAINTY_UNKNOWN
    log_size: int = 0
    schema_hash: bytes = NO_SCHEMA
    delivery_class: DeliveryClass = DeliveryClass.BACKGROUND
    records: tuple[bytes, ...] = ()


def is_box_size(size: int) -> bool:
    """Whether a box can have this size: the overhead of the seal and a padded length."""
    return is_padded_length(size - OVERHEAD)


def seal_box(prelude: Prelude, body: bytes, public: bytes, place: Place, seed32: bytes) -> bytes:
    """The box for ``place``, sealed to ``public``, whose key id the place names.

    ``seed32``: 32 random bytes for this box alone. LocalProtocolError for a prelude that a receiver would refuse.
    """
    wrong = _fault(prelude, place.type)
    if wrong is not None:
        raise LocalProtocolError(*wrong)
    try:
        packed = _pack(prelude)
    except struct.error:
        raise LocalProtocolError("prelude_number", "a number in the prelude does not fit its field") from None
    return seal(pad(place.binding() + packed + body), public, seed32)


def open_box(box: bytes, key: BoxKey, place: Place) -> tuple[Prelude, bytes]:
    """Prelude and body of a box that was found in ``place`` and is sealed to ``key``.

    In this order: OpenError ``box_key_differs``, ``box_does_not_open``, ``padding_wrong``, ``binding_differs``; then
    FormatError for the prelude.
    """
    if key.kid != place.box_kid:
        raise OpenError("box_key_differs", "the box names another key than the one at hand")
    return _read(unpad(open_sealed(box, key)), place)


def open_evidence(box: bytes, public: bytes, shared: bytes, place: Place) -> tuple[Prelude, bytes]:
    """As `open_box`, by the disclosed key of this one box; ``public`` is the key it was sealed to."""
    return _read(unpad(open_disclosed(box, public, shared)), place)


def _pack(prelude: Prelude) -> bytes:
    fixed = _PRELUDE.pack(
        b"",
        prelude.epoch,
        prelude.generation,
        prelude.log_size,
        prelude.schema_hash,
        prelude.boot_id,
        prelude.boot_ms,
        prelude.wall_ms,
        prelude.wall_uncertainty_ms,
        CLASSES.index(prelude.delivery_class),
        len(prelude.records),
    )
    return fixed[hashes.PERSONS[hashes.BINDING] :] + b"".join(prelude.records)


def _read(plain: bytes, place: Place) -> tuple[Prelude, bytes]:
    if not hmac.compare_digest(plain[:32], place.binding()):
        raise OpenError("binding_differs", "the box was sealed for another place")
    if len(plain) < _PRELUDE.size:
        raise FormatError("prelude_short", "the plaintext of a box ends within its prelude")
    (_, epoch, generation, log_size, schema_hash, boot_id, boot_ms, wall_ms, uncertainty_ms, delivery_class, count) = (
        _PRELUDE.unpack_from(plain)
    )
    if delivery_class >= len(CLASSES):
        raise FormatError("prelude_class", "the delivery class is none of background, live, event")
    body = _PRELUDE.size + count * ID_BYTES
    if len(plain) < body:
        raise FormatError("prelude_short", "the plaintext of a box ends within its records")
    records = tuple(plain[at : at + ID_BYTES] for at in range(_PRELUDE.size, body, ID_BYTES))
    prelude = Prelude(
        epoch,
        generation,
        boot_id,
        boot_ms,
        wall_ms,
        uncertainty_ms,
        log_size,
        schema_hash,
        CLASSES[delivery_class],
        records,
    )
    wrong = _fault(prelude, place.type)
    if wrong is not None:
        raise FormatError(*wrong)
    return prelude, plain[body:]


def _fault(prelude: Prelude, kind: EnvelopeType) -> tuple[str, str] | None:
    """Reason and sentence for what is wrong with a prelude in an envelope of this type; None if nothing is."""
    if (len(prelude.schema_hash), len(prelude.boot_id)) != (16, 8):
        return "prelude_lengths", "the schema hash has 16 bytes, the boot id 8"
    if max(prelude.log_size, prelude.boot_ms, prelude.wall_ms) > NUMBER_MAX:
        return "prelude_number", "a number in the prelude is 2^53 or more"
    if (prelude.wall_ms == WALL_UNKNOWN) != (prelude.wall_uncertainty_ms == UNCERTAINTY_UNKNOWN):
        return "prelude_wall_time", "wall time and its uncertainty are known together or not at all"
    records = prelude.records
    if any(len(record) != ID_BYTES for record in records) or any(a >= b for a, b in itertools.pairwise(records)):
        return "prelude_records", "the record ids are not strictly ascending"
    if kind is EnvelopeType.DATA:
        if not 1 <= len(records) <= RECORDS_MAX or prelude.schema_hash == NO_SCHEMA:
            return "prelude_data", f"a data box names a schema and 1 to {RECORDS_MAX} records"
    elif records or prelude.schema_hash != NO_SCHEMA or prelude.delivery_class is not CLASSES[0]:
        return "prelude_not_data", "only a data box names a class, a schema or records"
    return None
