"""Signed notes (C2SP signed-note): a text, and lines by which named Ed25519 keys vouch for it.

Law: the text counts only if a key that the reader knew before signed it. Lines of other keys are passed over; one bad
line in the name of a known key spoils the note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from carnet.errors import FormatError, LocalProtocolError, SignatureError
from carnet.keys import PUBLIC_BYTES, SigningKey

NOTE_BYTES_MAX: Final = 131_072
SIGNATURES_MAX: Final = 16
"""What C2SP demands that a reader takes, each of at most 5 kB."""

_ED25519: Final = b"\x01"
_ID_BYTES: Final = 4
_NAME: Final = re.compile(r"[^\s+\ud800-\udfff]+")
_LINE: Final = re.compile(r"\u2014 ([^\s+\ud800-\udfff]+) ([A-Za-z0-9+/]+={0,2})")
_KEY: Final = re.compile(r"([^\s+\ud800-\udfff]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key with the name under which it signs."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None or len(self.public) != PUBLIC_BYTES:
            raise LocalProtocolError("note_key", "a note is signed in a name without blanks and plus, by 32 bytes")

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature line names it."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def text(self) -> str:
        """The key as people pass it on: ``name+id+key``, a C2SP verifier key."""
        return f"{self.name}+{self.id.hex()}+{encode64(_ED25519 + self.public)}"


def parse_note_key(text: str) -> NoteKey:
    """The key in its text; FormatError ``note_key``."""
    match = _KEY.fullmatch(text)
    data = b"" if match is None else decode64(match[3], "note_key")
    if match is None or len(data) != 1 + PUBLIC_BYTES or not data.startswith(_ED25519):
        raise FormatError("note_key", "a log's key looks like name+01234567+AZaz…: one text, of Ed25519")
    key = NoteKey(match[1], data[1:])
    if key.id.hex() != match[2]:
        raise FormatError("note_key", "a log's key is damaged: its id does not fit its name and its bytes")
    return key


def sign_note(text: str, name: str, key: SigningKey) -> str:
    """The note of this text with one signature; further lines may be added after it by whoever vouches, too.

    LocalProtocolError ``note_text`` for a text that `open_note` would refuse.
    """
    own = NoteKey(name, key.public)
    signature = sodium.crypto_sign(text.encode(errors="replace"), key.secret)[: sodium.crypto_sign_BYTES]
    note = f"{text}\n\u2014 {name} {encode64(own.id + signature)}\n"
    try:
        open_note(note, [own])
    except (FormatError, SignatureError) as error:
        raise LocalProtocolError("note_text", str(error)) from None
    return note


def open_note(note: str, keys: Iterable[NoteKey]) -> str:
    """The text of a note that one of these keys signed.

    FormatError ``note_format``; SignatureError ``note_unsigned`` (none of them did) or ``note_signature``.
    """
    text, lines = split_note(note)
    known = {(key.name, key.id): key.public for key in keys}
    signed = [(known[name, blob[:_ID_BYTES]], blob) for name, blob in lines if (name, blob[:_ID_BYTES]) in known]
    if not signed:
        raise SignatureError("note_unsigned", "none of the known keys signed this")
    if not all(_fits(blob[_ID_BYTES:], text.encode(), public) for public, blob in signed):
        raise SignatureError("note_signature", "a signature does not fit the text and the key it names")
    return text


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """A note's text, and (name, key id and signature) of each line below it. FormatError ``note_format``."""
    at = note.rfind("\n\n")
    if at < 0 or not note.endswith("\n"):
        raise FormatError("note_format", "a note is lines of text, an empty line, and lines of signatures")
    if _size_bytes(note) > NOTE_BYTES_MAX or any(c < " " and c != "\n" for c in note):
        raise FormatError("note_format", "a note is too long, holds a control character, or is not UTF-8")
    lines = note[at + 2 : -1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise FormatError("note_format", f"a note has more than {SIGNATURES_MAX} signatures")
    return note[: at + 1], [_signature(line) for line in lines]


def encode64(data: bytes) -> str:
    """Base64 with padding, as C2SP writes it."""
    return base64.b64encode(data).decode("ascii")


def decode64(text: str, reason: str) -> bytes:
    """The bytes behind ``text``; FormatError ``reason`` unless `encode64` would write exactly this text."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if encode64(data) != text:
        raise FormatError(reason, "a text is not base64 with padding and zero spare bits")
    return data


def _signature(line: str) -> tuple[str, bytes]:
    match = _LINE.fullmatch(line)
    blob = b"" if match is None else decode64(match[2], "note_format")
    if match is None or len(blob) <= _ID_BYTES:
        raise FormatError("note_format", "a signature line is a long dash, a name, and base64")
    return match[1], blob


def _fits(signature: bytes, body: bytes, public: bytes) -> bool:
    # the length first: a longer one could bring along the beginning of a longer text that was really signed
    if len(signature) != sodium.crypto_sign_BYTES:
        return False
    try:
        sodium.crypto_sign_open(signature + body, public)
    except CryptoError:
        return False
    return True


def _size_bytes(text: str) -> float:
    """In UTF-8; endless if it has no form in it."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return math.inf
