"""Signatures: one context per purpose, and nothing but the right one is accepted."""

from __future__ import annotations

import itertools

import nacl.signing
import pytest

from carnet import signatures
from carnet.errors import LocalProtocolError, SignatureError
from carnet.keys import SigningKey

KEY = SigningKey.from_seed(b"\x05" * 32)
ORDER = 2**252 + 27742317777372353535851937790883648493


def test_no_context_is_the_beginning_of_another() -> None:
    """So what is signed for one purpose can never be read as signed for another."""
    for one, other in itertools.permutations(signatures.CONTEXTS, 2):
        assert not other.startswith(one)
    assert all(context.endswith(b"\0") for context in signatures.CONTEXTS)


def test_a_signature_is_plain_ed25519_over_context_and_data() -> None:
    """PyNaCl's own class verifies it."""
    signature = KEY.sign(signatures.NOTE, b"data")
    nacl.signing.VerifyKey(KEY.public).verify(signatures.NOTE + b"data", signature)
    signatures.verify(signatures.NOTE, b"data", signature, KEY.public)


def _wrong() -> dict[str, tuple[bytes, bytes, bytes, bytes]]:
    right = KEY.sign(signatures.NOTE, b"data")
    plus_order = (int.from_bytes(right[32:], "little") + ORDER).to_bytes(32, "little")
    return {
        "other context": (signatures.DOWN, b"data", right, KEY.public),
        "other data": (signatures.NOTE, b"date", right, KEY.public),
        "other key": (signatures.NOTE, b"data", right, SigningKey.from_seed(b"\x06" * 32).public),
        "S plus the order": (signatures.NOTE, b"data", right[:32] + plus_order, KEY.public),
        "small-order key": (signatures.NOTE, b"data", right, bytes(32)),
        "identity key and signature": (signatures.NOTE, b"data", b"\x01" + bytes(63), b"\x01" + bytes(31)),
        "truncated": (signatures.NOTE, b"data", right[:-1], KEY.public),
        "moved into the data": (signatures.NOTE, b"data" + right[:1], right[1:], KEY.public),
        "longer, with a whole other message in it": (
            signatures.DOWN,
            b"data",
            KEY.sign(signatures.NOTE, b"x" + signatures.DOWN + b"data") + signatures.NOTE + b"x",
            KEY.public,
        ),
        "empty": (signatures.NOTE, b"data", b"", KEY.public),
    }


@pytest.mark.parametrize("name", _wrong())
def test_a_wrong_signature_is_refused(name: str) -> None:
    """Each with the same reason: a forger learns nothing."""
    with pytest.raises(SignatureError) as refusal:
        signatures.verify(*_wrong()[name])
    assert refusal.value.reason == "signature_wrong"


def test_an_unknown_context_is_the_callers_fault() -> None:
    """Neither signed nor verified."""
    with pytest.raises(LocalProtocolError) as fault:
        signatures.sign(b"carnet other v1\0", b"", KEY.secret)
    assert fault.value.reason == "signing_arguments"
    with pytest.raises(LocalProtocolError) as fault:
        signatures.verify(b"carnet other v1\0", b"", bytes(64), KEY.public)
    assert fault.value.reason == "verifying_arguments"


@pytest.mark.parametrize("length", [31, 33])
def test_a_key_of_another_length_is_the_callers_fault(length: int) -> None:
    """Of the secret key and of the public one: libsodium would read past a short one."""
    with pytest.raises(LocalProtocolError) as fault:
        signatures.sign(signatures.NOTE, b"", KEY.secret[: 32 + length] + bytes(max(length - 32, 0)))
    assert fault.value.reason == "signing_arguments"
    with pytest.raises(LocalProtocolError) as fault:
        signatures.verify(signatures.NOTE, b"", bytes(64), bytes(length))
    assert fault.value.reason == "verifying_arguments"
