"""The envelope: one window of one device, one sealed box per set of records, one signature over all of them.

Law: what is signed and hashed is the stored bytes. A box may be replaced by its note without touching the signature,
the manifest hash or the chain; nothing else may change.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from carnet import hashes, signatures
from carnet.box import Place, is_box_size
from carnet.checked import checked
from carnet.envelopetype import MAGIC, SUITE, EnvelopeType
from carnet.errors import FormatError, LocalProtocolError, SignatureError
from carnet.keys import SigningKey, key_id
from carnet.limits import MESSAGE_BYTES_MAX, NUMBER_MAX
from carnet.note import NOTE_BYTES, DestructionReason, Note, parse_note

BOXES_MAX: Final = 32
NO_PREVIOUS: Final = bytes(32)

_HEADER = struct.Struct(">4sBBBB16s8sQ8s8s32s")
_ENTRY = struct.Struct(">B8sI")
_SIZE = struct.Struct(">8sI")
_TABLE: Final = _HEADER.size + signatures.SIGNATURE_BYTES
_STATE_BOX: Final = 0
_STATE_DESTROYED: Final = 1


@dataclass(frozen=True, slots=True)
class Header:
    """Who sends what in which place of which chain; ids and hashes as bytes.
    ``prev`` is the manifest hash of seq - 1.
    """

    type: EnvelopeType
    device: bytes
    stream: bytes
    seq: int
    cut: bytes
    device_kid: bytes
    prev: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of the table: a box of ``size`` bytes sealed to ``kid``,
    or the note in its place (exactly one is set).
    """

    kid: bytes
    size: int
    box_hash: bytes
    box: bytes | None
    note: Note | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope. Nothing in it is trusted before `verify` returned."""

    header: Header
    signature: bytes
    parts: tuple[Part, ...]
    manifest: bytes
    manifest_hash: bytes

    def place(self, index: int) -> Place:
        """The place that the box at ``index`` must have been sealed for."""
        header = self.header
        kid = self.parts[index].kid
        return Place(header.type, index, header.device, header.stream, header.cut, header.device_kid, kid)


def sign_envelope(header: Header, boxes: Sequence[tuple[bytes, bytes]], key: SigningKey) -> bytes:
    """The bytes of an envelope: ``boxes`` are (id of the key it is sealed to, box),
    ``key`` is the one the header names.

    LocalProtocolError with the receiver's reason for an envelope that every receiver would refuse.
    """
    if key.kid != header.device_kid:
        raise LocalProtocolError("device_kid_differs", "the header names another signing key")
    packed = _pack_header(header, len(boxes))
    manifest = packed + b"".join(_entry_hashed(kid, len(box), _box_hash(box)) for kid, box in boxes)
    table = b"".join(_ENTRY.pack(_STATE_BOX, kid, len(box)) for kid, box in boxes)
    signature = key.sign(signatures.ENVELOPE, manifest)
    return checked(packed + signature + table + b"".join(box for _, box in boxes), parse_envelope)


def parse_envelope(data: bytes) -> Envelope:
    """The envelope in ``data``, strictly; FormatError with one reason each, nothing verified yet."""
    header, count = _parse_header(data)
    parts = tuple(_parse_parts(data, header.type, count))
    manifest = data[: _HEADER.size] + b"".join(_entry_hashed(part.kid, part.size, part.box_hash) for part in parts)
    digest = hashes.digest(hashes.MANIFEST, manifest)
    return Envelope(header, data[_HEADER.size : _TABLE], parts, manifest, digest)


def verify(envelope: Envelope, public: bytes) -> None:
    """Return if ``public`` signed the envelope and every note in it.

    SignatureError ``device_kid_differs``, ``signature_wrong`` or ``note_signature_wrong``.
    """
    header = envelope.header
    if key_id(public) != header.device_kid:
        raise SignatureError("device_kid_differs", "the envelope names another signing key")
    signatures.verify(signatures.ENVELOPE, envelope.manifest, envelope.signature, public)
    for part in envelope.parts:
        if part.note is not None:
            part.note.verify(public, header.device, header.stream, header.seq)


def destroy(data: bytes, index: int, generation: int, reason: DestructionReason, key: SigningKey) -> bytes:
    """The same envelope with a note in place of the box at ``index``; unchanged if it already is one.

    ``generation`` is the grant set in force. The caller's duty is that the old bytes leave the disk.
    """
    envelope = parse_envelope(data)
    header = envelope.header
    if header.type is not EnvelopeType.DATA or not 0 <= index < len(envelope.parts):
        raise LocalProtocolError("destroy_arguments", "only a box of a data envelope can be destroyed")
    if key.kid != header.device_kid:
        raise LocalProtocolError("device_kid_differs", "the envelope was signed by another key")
    box = envelope.parts[index].box
    if box is None:
        return data
    note = Note(index, reason, generation, envelope.parts[index].box_hash).signed_by(
        key, header.device, header.stream, header.seq
    )
    entry = _TABLE + index * _ENTRY.size
    start = _TABLE + len(envelope.parts) * _ENTRY.size + sum(_stored_size(part) for part in envelope.parts[:index])
    head = data[:entry] + bytes([_STATE_DESTROYED]) + data[entry + 1 : start]
    return head + note.encode() + data[start + len(box) :]


def _parse_header(data: bytes) -> tuple[Header, int]:
    """Header and box count; lengths first, then fixed fields, then the rules of numbering."""
    if not _TABLE + _ENTRY.size <= len(data) <= MESSAGE_BYTES_MAX:
        raise FormatError("envelope_size", "an envelope is too short or too long")
    magic, suite, kind, flags, count, device, stream, seq, cut, device_kid, prev = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise FormatError("magic_unknown", "the bytes are not an envelope of version 1")
    if suite != SUITE:
        raise FormatError("suite_unknown", "the envelope's suite is not known here")
    if kind not in _TYPES:
        raise FormatError("type_unknown", "the envelope's type is not known here")
    if kind == EnvelopeType.KEY_CHANGE:
        raise FormatError("key_change_unsupported", "a change of the device's key is not supported yet")
    if flags:
        raise FormatError("flags_unknown", "the envelope has flags that are not known here")
    if not 1 <= count <= (BOXES_MAX if kind == EnvelopeType.DATA else 1):
        raise FormatError("box_count", "an envelope of this type cannot have this number of boxes")
    if seq > NUMBER_MAX or (seq == 0 and kind != EnvelopeType.CHECK_IN_OR_HEALTH):
        raise FormatError("seq_range", "the envelope's number is out of range for its type")
    if (seq <= 1) != (prev == NO_PREVIOUS):
        raise FormatError("prev_rule", "only the first envelope of a stream and a check-in have no predecessor")
    return Header(_TYPES[kind], device, stream, seq, cut, device_kid, prev), count


def _parse_parts(data: bytes, kind: EnvelopeType, count: int) -> Iterator[Part]:
    """Every entry with its box or note; the parts must fill the envelope exactly."""
    entries = [_ENTRY.unpack_from(data, at) for at in _table_offsets(data, count)]
    at = _TABLE + count * _ENTRY.size
    undestroyed = at
    for index, (state, kid, size) in enumerate(entries):
        if not is_box_size(size):
            raise FormatError("box_size", "a box cannot have this size")
        undestroyed += size
        if state == _STATE_BOX:
            box = data[at : at + size]
            yield Part(kid, size, _box_hash(box), box, None)
            at += size
        elif state == _STATE_DESTROYED and kind is EnvelopeType.DATA:
            note = parse_note(data[at : at + NOTE_BYTES], index)
            yield Part(kid, size, note.box_hash, None, note)
            at += NOTE_BYTES
        else:
            raise FormatError("entry_state", "the state of a box is not known for this type of envelope")
    if at != len(data) or undestroyed > MESSAGE_BYTES_MAX:
        raise FormatError("envelope_length", "the boxes do not fill the envelope exactly")


def _table_offsets(data: bytes, count: int) -> range:
    end = _TABLE + count * _ENTRY.size
    if len(data) < end:
        raise FormatError("envelope_length", "the envelope ends within its table")
    return range(_TABLE, end, _ENTRY.size)


def _pack_header(header: Header, count: int) -> bytes:
    # struct would silently cut or fill a field of another length
    lengths = tuple(map(len, (header.device, header.stream, header.cut, header.device_kid, header.prev)))
    if lengths != (16, 8, 8, 8, 32) or not 0 <= header.seq <= NUMBER_MAX or not 1 <= count <= BOXES_MAX:
        raise LocalProtocolError("header_fields", "a field of the header or the number of boxes is out of range")
    return _HEADER.pack(
        MAGIC,
        SUITE,
        header.type,
        0,
        count,
        header.device,
        header.stream,
        header.seq,
        header.cut,
        header.device_kid,
        header.prev,
    )


def _entry_hashed(kid: bytes, size: int, box_hash: bytes) -> bytes:
    """What an entry adds to the manifest: the same for a box and for the note in its place."""
    return _SIZE.pack(kid, size) + box_hash


def _box_hash(box: bytes) -> bytes:
    return hashes.digest(hashes.BOX, box)


def _stored_size(part: Part) -> int:
    return part.size if part.note is None else NOTE_BYTES


_TYPES: Final = {int(kind): kind for kind in EnvelopeType}
