"""Owner's signatures: compact JWS (RFC 7515) with Ed25519 over canonical JSON, in one form and no other.

Law: the first part of a token is compared, byte for byte, with the one header that a known key would have written. So
no field of the token chooses an algorithm, a key or where to fetch one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Final

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from carnet import canonical
from carnet.errors import FormatError, LocalProtocolError, RemoteError, SignatureError

RECORD: Final = "carnet-record"
EVENT: Final = "carnet-event"
OWNER_KEY: Final = "carnet-owner-key"
REQUEST: Final = "carnet-request"
SEEN: Final = "carnet-seen"
TYPES: Final = (RECORD, EVENT, OWNER_KEY, REQUEST, SEEN)
"""What a signature is for; a signature made for one is never accepted for another."""

ALGORITHM: Final = "EdDSA"
TOKEN_CHARACTERS_MAX: Final = 8192
_HEADER_BYTES_MAX: Final = 256
BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}", re.ASCII)
"""How base64url and a token look; only a quick look, `base64url_bytes` and `verify` decide."""


def base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def base64url_bytes(text: str) -> bytes:
    """The bytes behind ``text``; FormatError ``base64url`` unless `base64url` would write exactly this text."""
    if BASE64URL.fullmatch(text) is None or len(text) % 4 == 1:
        raise FormatError("base64url", "a text is not base64url without padding")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64url(data) != text:
        raise FormatError("base64url", "the spare bits of a base64url text are not zero")
    return data


def jwk(public: bytes) -> dict[str, str]:
    """The JSON Web Key (RFC 8037) of a 32-byte Ed25519 public key: exactly crv, kty and x."""
    return {"crv": "Ed25519", "kty": "OKP", "x": base64url(public)}


def thumbprint(public: bytes) -> str:
    """The key's name in a token: SHA-256 of its canonical JWK as base64url (RFC 7638)."""
    return base64url(hashlib.sha256(canonical.encode(jwk(public))).digest())


def sign(typ: str, document: object, secret: bytes) -> str:
    """The token of a document; ``secret`` is libsodium's 64 bytes (seed, then public key), ``typ`` one of `TYPES`."""
    if typ not in TYPES or len(secret) != sodium.crypto_sign_SECRETKEYBYTES:
        raise LocalProtocolError("signing_arguments", "a token needs a known type and a 64-byte secret key")
    public = secret[sodium.crypto_sign_SEEDBYTES :]
    signed = f"{_header(typ, public)}.{base64url(canonical.encode(document))}"
    signature = sodium.crypto_sign(signed.encode(), secret)[: sodium.crypto_sign_BYTES]
    return f"{signed}.{base64url(signature)}"


def verify(token: str, typ: str, keys: Iterable[bytes]) -> object:
    """The document in ``token``, if one of these 32-byte public keys signed it as ``typ``.

    FormatError ``jws_malformed``, ``jws_header`` or canonical JSON's reasons; SignatureError ``jws_algorithm``,
    ``jws_type``, ``jws_key`` (signed by a key that is none of these) or ``jws_signature``.
    """
    header, payload, signature = _split(token)
    public = next((key for key in keys if _header(typ, key) == header), None)
    if public is None:
        raise _header_refusal(header, typ)
    message = base64url_bytes(signature)
    if len(message) != sodium.crypto_sign_BYTES:
        raise SignatureError("jws_signature", "the signature of a token does not have 64 bytes")
    try:
        sodium.crypto_sign_open(message + f"{header}.{payload}".encode(), public)
    except CryptoError:
        raise SignatureError("jws_signature", "the signature of a token does not fit its content and key") from None
    return canonical.parse(base64url_bytes(payload), TOKEN_CHARACTERS_MAX)


def is_by(token: str, typ: str, keys: Iterable[bytes]) -> bool:
    """Whether a token that was verified before is of one of these keys."""
    return token.partition(".")[0] in {_header(typ, key) for key in keys}


def unverified(token: str) -> object:
    """What a token claims, with nobody's word for it: only to say which document was refused. Errors as `verify`."""
    return canonical.parse(base64url_bytes(_split(token)[1]), TOKEN_CHARACTERS_MAX)


def _split(token: str) -> tuple[str, str, str]:
    parts = token.split(".") if len(token) <= TOKEN_CHARACTERS_MAX else []
    if len(parts) != 3:
        raise FormatError(
            "jws_malformed", f"a token is three parts with dots, {TOKEN_CHARACTERS_MAX} characters at most"
        )
    try:
        for part in parts:
            base64url_bytes(part)
    except FormatError as error:
        raise FormatError("jws_malformed", str(error)) from None
    return parts[0], parts[1], parts[2]


def _header(typ: str, public: bytes) -> str:
    return base64url(canonical.encode({"alg": ALGORITHM, "kid": thumbprint(public), "typ": typ}))


def _header_refusal(header: str, typ: str) -> RemoteError:
    """Why no known key would have written this header. Only words for people: nothing is decided here any more."""
    try:
        found = canonical.parse(base64url_bytes(header), _HEADER_BYTES_MAX)
    except FormatError as error:
        return FormatError("jws_header", str(error))
    if not isinstance(found, dict) or set(found) != {"alg", "kid", "typ"}:
        return FormatError("jws_header", "the header of a token has not exactly the members alg, kid and typ")
    if found["alg"] != ALGORITHM:
        return SignatureError("jws_algorithm", f"the only algorithm is {ALGORITHM}")
    if found["typ"] != typ:
        return SignatureError("jws_type", f"the token was not signed as {typ}")
    return SignatureError("jws_key", "the token is signed by a key that is not the owner's")
