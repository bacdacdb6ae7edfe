"""Down messages: what the cloud tells one device, signed,
and all but acknowledgements sealed to the device's receive key.

Law: a device believes nothing that is not signed by a key of its key set and addressed to itself.
"""

from __future__ import annotations

import hmac
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from carnet import canonical, compression, fields, hashes, ids, signatures
from carnet.ack import Ack, parse_ack
from carnet.checked import checked
from carnet.envelopetype import SUITE
from carnet.errors import FormatError, LocalProtocolError, OpenError, SignatureError
from carnet.growth import Growth
from carnet.keys import BoxKey, SigningKey, key_id
from carnet.keyset import KeySet
from carnet.limits import BODY_BYTES_MAX, MESSAGE_BYTES_MAX
from carnet.padding import pad, unpad
from carnet.sealedbox import open_sealed, seal

HASHES_MAX: Final = 64
REASON = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)

_HEADER = struct.Struct(">BB16s8s")
_BINDING_BYTES: Final = hashes.PERSONS[hashes.DOWN]


class DownType(IntEnum):
    """Byte 0 of a down message."""

    ACK = 1
    REFUSAL = 2
    GRANT_SET = 3
    KEY_SET = 4
    SCHEMA_REQUEST = 5
    GROWTH = 6


@dataclass(frozen=True, slots=True)
class Refusal:
    """The cloud will never take this envelope: number *and* manifest hash name it; ``reason`` is a snake_case word."""

    stream: bytes
    seq: int
    manifest_hash: bytes
    reason: str

    def encode(self) -> bytes:
        """The body."""
        manifest, stream = self.manifest_hash.hex(), self.stream.hex()
        return canonical.encode({"manifest": manifest, "reason": self.reason, "seq": self.seq, "stream": stream})

    @staticmethod
    def parse(body: bytes) -> Refusal:
        """The refusal in ``body``; FormatError."""
        document = canonical.parse(body, BODY_BYTES_MAX)
        manifest, reason, seq, stream = fields.members(document, "manifest", "reason", "seq", "stream")
        return Refusal(
            fields.hex_bytes(stream, ids.STREAM_BYTES),
            fields.number(seq),
            fields.hex_bytes(manifest, 32),
            fields.text(reason, REASON),
        )


@dataclass(frozen=True, slots=True)
class GrantSetMessage:
    """The bytes of a whole grant set, as they were signed and stored; compressed on the wire."""

    grant_set: bytes

    def encode(self) -> bytes:
        """The body."""
        return compression.compress(self.grant_set)

    @staticmethod
    def parse(body: bytes) -> GrantSetMessage:
        """The grant set's bytes; FormatError."""
        return GrantSetMessage(compression.inflate(body))


@dataclass(frozen=True, slots=True)
class SchemaRequest:
    """Schema hashes (16 bytes each, ascending) that the cloud has met and does not know."""

    hashes: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The body."""
        return canonical.encode({"hashes": [each.hex() for each in self.hashes]})

    @staticmethod
    def parse(body: bytes) -> SchemaRequest:
        """The request in ``body``; FormatError."""
        (values,) = fields.members(canonical.parse(body, BODY_BYTES_MAX), "hashes")
        parsed = tuple(fields.hex_bytes(each, 16) for each in fields.items(values, 1, HASHES_MAX))
        return SchemaRequest(fields.ascending(parsed))


SealedMessage = Refusal | GrantSetMessage | KeySet | SchemaRequest | Growth
DownMessage = Ack | SealedMessage

_TYPE_OF: Final[Mapping[type[SealedMessage], DownType]] = {
    Refusal: DownType.REFUSAL,
    GrantSetMessage: DownType.GRANT_SET,
    KeySet: DownType.KEY_SET,
    SchemaRequest: DownType.SCHEMA_REQUEST,
    Growth: DownType.GROWTH,
}
_PARSE: Final[Mapping[int, Callable[[bytes], SealedMessage]]] = {kind: one.parse for one, kind in _TYPE_OF.items()}


def sign_ack(ack: Ack, device: bytes, key: SigningKey) -> bytes:
    """The message that carries an acknowledgement to ``device``, signed by the cloud's key."""
    return _signed(_header(DownType.ACK, device, key.kid) + ack.encode(), key)


def seal_down(message: SealedMessage, device: bytes, key: SigningKey, receive_public: bytes, seed32: bytes) -> bytes:
    """The message for ``device``, sealed to its receive key and signed by the cloud's.

    ``seed32``: 32 random bytes for this message alone. LocalProtocolError for a message that the device would refuse.
    """
    kind = _TYPE_OF[type(message)]
    body = checked(message.encode(), _PARSE[kind])
    header = _header(kind, device, key.kid)
    box = seal(pad(_binding(header, key_id(receive_public)) + body), receive_public, seed32)
    return _signed(header + box, key)


def open_down(data: bytes, device: bytes, cloud_keys: Mapping[bytes, bytes], receive_key: BoxKey) -> DownMessage:
    """The message in ``data`` for ``device``; ``cloud_keys`` are the signing keys of its key set, by id.

    In this order: FormatError ``down_size``, ``suite_unknown``, ``down_type_unknown``, ``down_other_device``;
    SignatureError ``cloud_key_unknown``, ``signature_wrong``; then the content: OpenError or FormatError.
    """
    if not _HEADER.size + signatures.SIGNATURE_BYTES <= len(data) <= MESSAGE_BYTES_MAX:
        raise FormatError("down_size", "a down message is too short or too long")
    kind, suite, addressee, kid = _HEADER.unpack_from(data)
    if suite != SUITE:
        raise FormatError("suite_unknown", "the message's suite is not known here")
    if kind != DownType.ACK and kind not in _PARSE:
        raise FormatError("down_type_unknown", "the message's type is not known here")
    if addressee != device:
        raise FormatError("down_other_device", "the message is addressed to another device")
    if kid not in cloud_keys:
        raise SignatureError("cloud_key_unknown", "the message is signed by a key that is not in the key set")
    end = len(data) - signatures.SIGNATURE_BYTES
    signatures.verify(signatures.DOWN, data[:end], data[end:], cloud_keys[kid])
    content = data[_HEADER.size : end]
    if kind == DownType.ACK:
        return parse_ack(content)
    plain = unpad(open_sealed(content, receive_key))
    if not hmac.compare_digest(plain[:_BINDING_BYTES], _binding(data[: _HEADER.size], receive_key.kid)):
        raise OpenError("binding_differs", "the content was sealed for another message")
    return _PARSE[kind](plain[_BINDING_BYTES:])


def _header(kind: DownType, device: bytes, kid: bytes) -> bytes:
    if len(device) != ids.DEVICE_BYTES:
        raise LocalProtocolError("id_length", f"a device id has {ids.DEVICE_BYTES} bytes")
    return _HEADER.pack(kind, SUITE, device, kid)


def _binding(header: bytes, receive_kid: bytes) -> bytes:
    return hashes.digest(hashes.DOWN, header + receive_kid)


def _signed(data: bytes, key: SigningKey) -> bytes:
    if len(data) + signatures.SIGNATURE_BYTES > MESSAGE_BYTES_MAX:
        raise LocalProtocolError("down_size", "a down message is too long")
    return data + key.sign(signatures.DOWN, data)
