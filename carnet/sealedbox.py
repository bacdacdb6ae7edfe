"""Sealed boxes, byte-identical to libsodium's ``crypto_box_seal``, with the randomness handed in.

Law: the ephemeral secret is forgotten as soon as the box is made; not even the sender opens it again.
"""

from __future__ import annotations

import hashlib
from typing import Final

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from carnet.errors import LocalProtocolError, OpenError
from carnet.keys import BoxKey

OVERHEAD: Final = sodium.crypto_box_SEALBYTES
SHARED_KEY_BYTES: Final = sodium.crypto_box_BEFORENMBYTES
_PUBLIC: Final = sodium.crypto_box_PUBLICKEYBYTES
_NONCE: Final = sodium.crypto_box_NONCEBYTES


def seal(plain: bytes, public: bytes, seed32: bytes) -> bytes:
    """``plain`` sealed to ``public``: ephemeral public key, tag, ciphertext.

    ``seed32`` are 32 random bytes for this box alone: the same seed used twice for one recipient shows both plaintexts.
    LocalProtocolError ``seal_arguments`` for a seed or key that cannot be used (wrong length, point of small order).
    """
    try:
        ephemeral, secret = sodium.crypto_box_seed_keypair(seed32)
        return ephemeral + sodium.crypto_box_easy(plain, _nonce(ephemeral, public), public, secret)
    except CryptoError:
        raise LocalProtocolError("seal_arguments", "a box needs a 32-byte seed and a usable public key") from None


def open_sealed(box: bytes, key: BoxKey) -> bytes:
    """The plaintext of a box sealed to ``key``; OpenError ``box_does_not_open`` in every other case."""
    try:
        return sodium.crypto_box_seal_open(box, key.public, key.secret)
    except CryptoError:
        raise OpenError("box_does_not_open", "the box was not sealed to this key or is damaged") from None


def shared_key(box: bytes, key: BoxKey) -> bytes:
    """The 32 bytes that open this one box: evidence for a stranger, without the secret of ``key``."""
    try:
        return sodium.crypto_box_beforenm(box[:_PUBLIC], key.secret)
    except CryptoError:
        raise OpenError("box_does_not_open", "the box is too short or its ephemeral key is weak") from None


def open_disclosed(box: bytes, public: bytes, shared: bytes) -> bytes:
    """The plaintext of a box by its disclosed key; ``public`` is the key it was sealed to.

    Proves nothing before the binding in the plaintext was compared: without it a box may have two such keys.
    """
    try:
        return sodium.crypto_box_open_easy_afternm(box[_PUBLIC:], _nonce(box[:_PUBLIC], public), shared)
    except CryptoError:
        raise OpenError("box_does_not_open", "the disclosed key does not open the box") from None


def _nonce(ephemeral: bytes, public: bytes) -> bytes:
    return hashlib.blake2b(ephemeral + public, digest_size=_NONCE).digest()
