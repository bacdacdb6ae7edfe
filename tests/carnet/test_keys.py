"""Keys: one use each, ids that name them, files that refuse damage."""

from __future__ import annotations

import hashlib

import nacl.public
import nacl.signing
import pytest

from carnet import keys
from carnet.errors import ConfigError, FormatError, LocalProtocolError

SEED = bytes(range(32))


def test_a_key_id_is_eight_bytes_of_blake2b_with_its_person() -> None:
    """As the document says it."""
    assert keys.key_id(SEED) == hashlib.blake2b(SEED, digest_size=8, person=b"carnet keyid").digest()
    with pytest.raises(LocalProtocolError):
        keys.key_id(SEED[1:])


def test_pairs_are_those_of_libsodium() -> None:
    """The high-level classes of PyNaCl make the same pairs from the same seed."""
    assert keys.SigningKey.from_seed(SEED).public == bytes(nacl.signing.SigningKey(SEED).verify_key)
    oracle = nacl.public.PrivateKey.from_seed(SEED)
    assert keys.BoxKey.from_seed(SEED).public == bytes(oracle.public_key)
    assert keys.BoxKey.from_seed(SEED).secret == bytes(oracle)


def test_no_secret_shows_in_a_repr() -> None:
    """A key in a traceback or a log line stays a secret."""
    for key in (keys.SigningKey.from_seed(SEED), keys.BoxKey.from_seed(SEED)):
        assert repr(key.secret) not in repr(key) and "secret" not in repr(key)


@pytest.mark.parametrize("role", keys.SIGNING_ROLES + keys.OPENING_ROLES)
def test_a_key_file_comes_back_as_its_pair(role: str) -> None:
    """Each role with its own kind of pair."""
    text = keys.encode_key(role, SEED)
    assert text.startswith("carnet-secret-key 1\n")
    if role in keys.SIGNING_ROLES:
        assert keys.parse_signing_key(text, role) == keys.SigningKey.from_seed(SEED)
    else:
        assert keys.parse_box_key(text, role) == keys.BoxKey.from_seed(SEED)


def _damaged() -> list[str]:
    text = keys.encode_key(keys.DEVICE_SIGN, SEED)
    return [
        "",
        text[:-1],
        text + "\n",
        text.upper(),
        text.replace(" 1\n", " 2\n"),
        text.replace("seed: 00", "seed: 01"),
    ]


@pytest.mark.parametrize("text", _damaged())
def test_a_damaged_key_file_is_refused(text: str) -> None:
    """Truncated, extended, of another version, with a flipped digit."""
    with pytest.raises(ConfigError) as refusal:
        keys.parse_signing_key(text, keys.DEVICE_SIGN)
    assert refusal.value.reason == "key_file"
    assert SEED.hex() not in str(refusal.value)


def test_a_key_file_of_another_role_is_refused() -> None:
    """The cloud's signing key is no device's signing key, and no signing key opens boxes."""
    text = keys.encode_key(keys.CLOUD_SIGN, SEED)
    with pytest.raises(ConfigError, match="cloud-sign"):
        keys.parse_signing_key(text, keys.DEVICE_SIGN)
    with pytest.raises(LocalProtocolError):
        keys.parse_box_key(text, keys.CLOUD_SIGN)
    with pytest.raises(LocalProtocolError):
        keys.parse_signing_key(keys.encode_key(keys.CLOUD_SEAL, SEED), keys.CLOUD_SEAL)
    with pytest.raises(LocalProtocolError):
        keys.encode_key("owner", SEED)


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31), bytes(31), bytes(33)])
def test_a_weak_public_key_is_refused(public: bytes) -> None:
    """Points of small order and wrong lengths: what is sealed to them is sealed to everybody or nobody."""
    with pytest.raises(FormatError) as refusal:
        keys.check_box_public(public)
    assert refusal.value.reason == "key_weak"
    keys.check_box_public(keys.BoxKey.from_seed(SEED).public)
