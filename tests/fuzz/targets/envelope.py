"""Whatever the bytes, parse_envelope raises FormatError or returns what is written again as the same bytes.

And verify only ever raises SignatureError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from carnet.envelope import Envelope, parse_envelope, verify
from carnet.errors import FormatError, SignatureError
from carnet.keys import SigningKey
from tests.fuzz.material import vectors

PUBLIC = SigningKey.from_seed(bytes.fromhex(vectors("envelope")["seeds"]["device_sign"])).public


def seeds() -> Iterable[bytes]:
    return [bytes.fromhex(v["bytes"]) + bytes(v.get("zeros", 0)) for v in vectors("envelope")["vectors"]]


def check(data: bytes) -> None:
    try:
        envelope = parse_envelope(data)
    except FormatError:
        return
    assert written(envelope) == data
    try:
        verify(envelope, PUBLIC)
    except SignatureError:
        return


def written(envelope: Envelope) -> bytes:
    """The bytes of an envelope after ``docs/wire-format.md``, by nothing of ours."""
    header, parts = envelope.header, envelope.parts
    fixed = struct.pack(
        ">4sBBBB16s8sQ8s8s32s", b"CNT1", 1, header.type, 0, len(parts), header.device, header.stream, header.seq,
        header.cut, header.device_kid, header.prev,
    )  # fmt: skip
    table = b"".join(struct.pack(">B8sI", part.box is None, part.kid, part.size) for part in parts)
    return fixed + envelope.signature + table + b"".join(part.box or _note(part) for part in parts)


def _note(part: object) -> bytes:
    note = part.note  # type: ignore[attr-defined]
    return struct.pack(">BBHI32s", note.index, note.reason, 0, note.generation, part.box_hash) + bytes(note.signature)  # type: ignore[attr-defined]
