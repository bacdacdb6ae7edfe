"""A note: what stands in an envelope where a box was destroyed, signed by the device.

Law: an absent box counts only with its note, and a note fits one box of one envelope.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from carnet import signatures
from carnet.errors import FormatError, SignatureError
from carnet.keys import SigningKey

_FIXED = struct.Struct(">BBHI32s")
_NUMBER = struct.Struct(">16s8sQ")
NOTE_BYTES: Final = _FIXED.size + signatures.SIGNATURE_BYTES


class DestructionReason(IntEnum):
    """Why nobody may have a box any more."""

    ENDED = 1
    EPOCH = 2
    ERASED = 3


@dataclass(frozen=True, slots=True)
class Note:
    """The box at ``index`` with this hash was destroyed while the grant set ``generation`` was in force."""

    index: int
    reason: DestructionReason
    generation: int
    box_hash: bytes
    signature: bytes = b""

    def encode(self) -> bytes:
        """The 104 bytes of a signed note."""
        return self._fixed() + self.signature

    def signed_by(self, key: SigningKey, device: bytes, stream: bytes, seq: int) -> Note:
        """This note with the device's signature for one envelope."""
        return replace(self, signature=key.sign(signatures.NOTE, _NUMBER.pack(device, stream, seq) + self._fixed()))

    def verify(self, public: bytes, device: bytes, stream: bytes, seq: int) -> None:
        """Return if the device signed this note for this envelope; SignatureError ``note_signature_wrong`` if not."""
        try:
            signatures.verify(
                signatures.NOTE, _NUMBER.pack(device, stream, seq) + self._fixed(), self.signature, public
            )
        except SignatureError as error:
            raise SignatureError("note_signature_wrong", f"in a note: {error}") from None

    def _fixed(self) -> bytes:
        return _FIXED.pack(self.index, self.reason, 0, self.generation, self.box_hash)


def parse_note(data: bytes, index: int) -> Note:
    """The note for the entry at ``index``; FormatError ``note_malformed``. Its signature is not verified yet."""
    if len(data) != NOTE_BYTES:
        raise FormatError("note_malformed", f"a note has {NOTE_BYTES} bytes")
    found, reason, zero, generation, box_hash = _FIXED.unpack_from(data)
    if found != index or zero or reason not in _REASONS:
        raise FormatError("note_malformed", "the index, reason or filling of a note is wrong")
    return Note(found, _REASONS[reason], generation, box_hash, data[_FIXED.size :])


_REASONS: Final = {int(reason): reason for reason in DestructionReason}
