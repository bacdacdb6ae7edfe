"""Key pairs and their ids: a device's sign and receive, the cloud's seal and sign, a log's and an owner's sign, a
recipient's seal; and their files.

A device's third key, for TLS, is only a file that the TLS library reads. Law: a key has one use. Ed25519 keys sign,
X25519 keys open boxes, and neither is ever converted into the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from carnet import hashes, signatures
from carnet.errors import ConfigError, FormatError, LocalProtocolError

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
KID_BYTES: Final = 8

DEVICE_SIGN: Final = "device-sign"
DEVICE_RECEIVE: Final = "device-receive"
CLOUD_SEAL: Final = "cloud-seal"
CLOUD_SIGN: Final = "cloud-sign"
LOG_SIGN: Final = "log-sign"
OWNER_SIGN: Final = "owner-sign"
RECIPIENT_SEAL: Final = "recipient-seal"
SIGNING_ROLES: Final = (DEVICE_SIGN, CLOUD_SIGN, LOG_SIGN, OWNER_SIGN)
OPENING_ROLES: Final = (DEVICE_RECEIVE, CLOUD_SEAL, RECIPIENT_SEAL)

KEY_FILE_HEAD: Final = "carnet-secret-key"
"""How the text of every secret key begins."""

_KEY_FILE = re.compile(KEY_FILE_HEAD + r" 1\nrole: ([a-z-]+)\nkid: ([0-9a-f]{16})\nseed: ([0-9a-f]{64})\n", re.ASCII)


def key_id(public: bytes) -> bytes:
    """The eight bytes that name a public key wherever one is referred to."""
    if len(public) != PUBLIC_BYTES:
        raise LocalProtocolError("key_length", "a public key has 32 bytes")
    return hashes.digest(hashes.KEY_ID, public)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair. ``secret`` is libsodium's 64 bytes and never shows in a repr."""

    public: bytes
    secret: bytes = field(repr=False)
    kid: bytes

    @staticmethod
    def from_seed(seed: bytes) -> SigningKey:
        """The pair that belongs to 32 random bytes."""
        public, secret = sodium.crypto_sign_seed_keypair(_checked_seed(seed))
        return SigningKey(public, secret, key_id(public))

    def sign(self, context: bytes, data: bytes) -> bytes:
        """64 bytes of signature under one of the contexts in `carnet.signatures`."""
        return signatures.sign(context, data, self.secret)


@dataclass(frozen=True, slots=True)
class BoxKey:
    """An X25519 key pair that opens boxes sealed to ``public``. ``secret`` is 32 bytes and never shows in a repr."""

    public: bytes
    secret: bytes = field(repr=False)
    kid: bytes

    @staticmethod
    def from_seed(seed: bytes) -> BoxKey:
        """The pair that libsodium's ``crypto_box_seed_keypair`` makes of 32 random bytes."""
        public, secret = sodium.crypto_box_seed_keypair(_checked_seed(seed))
        return BoxKey(public, secret, key_id(public))


def check_box_public(public: bytes) -> None:
    """FormatError ``key_weak`` for a public key that nobody may seal to: a wrong length or a point of small order."""
    if len(public) != PUBLIC_BYTES:
        raise FormatError("key_weak", "a public key has 32 bytes")
    try:
        # Any secret key shows it: with a point of small order the shared secret is zero and libsodium refuses.
        sodium.crypto_box_beforenm(public, b"\x01" * 32)
    except CryptoError:
        raise FormatError("key_weak", "the public key is a point of small order") from None


def encode_key(role: str, seed: bytes) -> str:
    """The text of a key file (mode 0600 is the shell's duty)."""
    kid = _pair(role, seed).kid
    return f"carnet-secret-key 1\nrole: {role}\nkid: {kid.hex()}\nseed: {seed.hex()}\n"


def parse_signing_key(text: str, role: str) -> SigningKey:
    """The signing key in a key file of this role; ConfigError ``key_file`` for anything else."""
    key = _parse(text, role)
    if not isinstance(key, SigningKey):
        raise LocalProtocolError("key_role", f"{role} is not the role of a signing key")
    return key


def parse_box_key(text: str, role: str) -> BoxKey:
    """The opening key in a key file of this role; ConfigError ``key_file`` for anything else."""
    key = _parse(text, role)
    if not isinstance(key, BoxKey):
        raise LocalProtocolError("key_role", f"{role} is not the role of an opening key")
    return key


def _parse(text: str, role: str) -> SigningKey | BoxKey:
    match = _KEY_FILE.fullmatch(text)
    if match is None:
        raise ConfigError("key_file", "this is not a key file of Carnet; make one with the keygen or pair command")
    if match[1] != role:
        raise ConfigError("key_file", f"this is a key for {match[1]}, and one for {role} is needed")
    key = _pair(role, bytes.fromhex(match[3]))
    if key.kid.hex() != match[2]:
        raise ConfigError("key_file", "the key file is damaged: its key id does not fit its seed")
    return key


def _pair(role: str, seed: bytes) -> SigningKey | BoxKey:
    if role in SIGNING_ROLES:
        return SigningKey.from_seed(seed)
    if role in OPENING_ROLES:
        return BoxKey.from_seed(seed)
    raise LocalProtocolError("key_role", f"there is no key role called {role}")


def _checked_seed(seed: bytes) -> bytes:
    if len(seed) != SEED_BYTES:
        raise LocalProtocolError("seed_length", "a key pair is made of 32 random bytes")
    return seed
