"""The cloud's public keys as a device holds them: what to seal to and whose signatures to accept.

Law: exactly one key of each list is current; a version only rises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carnet import canonical, fields
from carnet.checked import checked
from carnet.errors import FormatError
from carnet.keys import KID_BYTES, PUBLIC_BYTES, check_box_public, key_id
from carnet.limits import BODY_BYTES_MAX

CURRENT: Final = "current"
RETIRING: Final = "retiring"
KEYS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key of a set: its id, its 32 bytes, and whether it is the current one."""

    kid: bytes
    public: bytes
    current: bool

    @staticmethod
    def of(public: bytes, current: bool = True) -> PublicKey:
        """The entry for a public key."""
        return PublicKey(key_id(public), public, current)


@dataclass(frozen=True, slots=True)
class KeySet:
    """Version and two lists, ascending by key id: X25519 keys to seal to, Ed25519 keys that sign down messages."""

    version: int
    seal: tuple[PublicKey, ...]
    sign: tuple[PublicKey, ...]

    @property
    def sealing_key(self) -> PublicKey:
        """The key to seal new boxes to."""
        return next(key for key in self.seal if key.current)

    @property
    def signing_keys(self) -> dict[bytes, bytes]:
        """Key id -> public key of every key whose signature is accepted."""
        return {key.kid: key.public for key in self.sign}

    def replaces(self, version: int) -> bool:
        """Whether this set may take the place of one with that version."""
        return self.version > version

    def encode(self) -> bytes:
        """Canonical JSON; LocalProtocolError for a set that `parse` would refuse."""
        document = {
            "seal": [_document(key) for key in self.seal],
            "sign": [_document(key) for key in self.sign],
            "version": self.version,
        }
        return checked(canonical.encode(document), KeySet.parse)

    @staticmethod
    def parse(data: bytes) -> KeySet:
        """The key set in ``data``; FormatError, ``key_weak`` for a sealing key of small order."""
        seal, sign, version = fields.members(canonical.parse(data, BODY_BYTES_MAX), "seal", "sign", "version")
        key_set = KeySet(fields.number(version, 1), _keys(seal), _keys(sign))
        for key in key_set.seal:
            check_box_public(key.public)
        return key_set


def _document(key: PublicKey) -> dict[str, str]:
    return {"kid": key.kid.hex(), "pk": key.public.hex(), "state": CURRENT if key.current else RETIRING}


def _keys(value: object) -> tuple[PublicKey, ...]:
    keys = tuple(_key(each) for each in fields.items(value, 1, KEYS_MAX))
    fields.ascending(tuple(key.kid for key in keys))
    if sum(key.current for key in keys) != 1:
        raise FormatError("body_malformed", "a list of keys has not exactly one current key")
    return keys


def _key(value: object) -> PublicKey:
    kid, public, state = fields.members(value, "kid", "pk", "state")
    current = fields.choice(state, CURRENT, RETIRING) == CURRENT
    key = PublicKey(fields.hex_bytes(kid, KID_BYTES), fields.hex_bytes(public, PUBLIC_BYTES), current)
    if key.kid != key_id(key.public):
        raise FormatError("body_malformed", "a key id does not belong to its key")
    return key
