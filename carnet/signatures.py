"""Ed25519 signatures, each made for one purpose: what is signed begins with a context that ends in a zero byte.

Law: no context is the beginning of another, so a signature made for one purpose is never accepted for another.
"""

from __future__ import annotations

from typing import Final

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from carnet.errors import LocalProtocolError, SignatureError

ENVELOPE: Final = b"carnet envelope v1\0"
NOTE: Final = b"carnet note v1\0"
DOWN: Final = b"carnet down v1\0"
ENROLMENT: Final = b"carnet enrolment v1\0"

CONTEXTS: Final = (ENVELOPE, NOTE, DOWN, ENROLMENT)

PUBLIC_BYTES: Final = sodium.crypto_sign_PUBLICKEYBYTES
SECRET_BYTES: Final = sodium.crypto_sign_SECRETKEYBYTES
SIGNATURE_BYTES: Final = sodium.crypto_sign_BYTES


def sign(context: bytes, data: bytes, secret: bytes) -> bytes:
    """64 bytes of signature over context and data; ``secret`` is libsodium's 64 bytes (seed, then public key)."""
    if context not in CONTEXTS or len(secret) != SECRET_BYTES:
        raise LocalProtocolError("signing_arguments", "a signature needs a known context and a 64-byte secret key")
    return sodium.crypto_sign(context + data, secret)[:SIGNATURE_BYTES]


def verify(context: bytes, data: bytes, signature: bytes, public: bytes) -> None:
    """Return if the signature is right; SignatureError ``signature_wrong`` in every other case.

    libsodium refuses S not below the group's order and public keys of small order; both count as wrong.
    """
    if context not in CONTEXTS or len(public) != PUBLIC_BYTES:
        raise LocalProtocolError("verifying_arguments", "verification needs a known context and a 32-byte public key")
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError("signature_wrong", "the signature does not have 64 bytes")
    try:
        sodium.crypto_sign_open(signature + context + data, public)
    except CryptoError:
        raise SignatureError("signature_wrong", "the signature does not fit the content and the key") from None
