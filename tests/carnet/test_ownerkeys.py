"""The owner's keys: pinned ones count, further ones only by the word of a pinned one, for this vehicle and epoch."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from carnet import canonical, jws
from carnet.consent import OwnerKeys, encode_owner, parse_owner, sign_addition
from carnet.errors import RemoteError
from carnet.grants import compile_grant
from carnet.keys import SigningKey
from carnet.ownerkeys import ADDED_MAX, PINNED_MAX
from tests.consentkit import GIVEN_MS, OFFER, OTHER_KEY, OTHER_VEHICLE, OWNER, OWNER_KEY, SECOND_KEY, token


def _addition(signer: SigningKey = OWNER_KEY, public: bytes = SECOND_KEY.public, owner: OwnerKeys = OWNER) -> str:
    return sign_addition(owner, public, GIVEN_MS, signer.secret)


def _reason(owner: OwnerKeys, *tokens: str) -> str:
    with pytest.raises(RemoteError) as refusal:
        owner.with_added(tokens)
    return refusal.value.reason


def test_the_file_comes_back_with_what_was_added() -> None:
    """Added keys are stored as the tokens that prove them."""
    owner = OWNER.with_added((_addition(),))
    assert parse_owner(encode_owner(owner)) == owner
    assert owner.keys == (OWNER_KEY.public, SECOND_KEY.public)


def test_an_added_key_signs_records() -> None:
    """A second phone of the same owner."""
    signed = token(key=SECOND_KEY)
    assert compile_grant(OFFER, signed, (), OWNER.with_added((_addition(),))).record_id
    with pytest.raises(RemoteError):
        compile_grant(OFFER, signed, (), OWNER)


def test_an_addition_counts_once() -> None:
    """Grant sets repeat it; the file does not grow."""
    owner = OWNER.with_added((_addition(), _addition()))
    assert owner.with_added((_addition(),)) == owner
    assert len(owner.tokens) == 1


def test_an_added_key_adds_no_other() -> None:
    """Only what was pinned by hand can add."""
    owner = OWNER.with_added((_addition(),))
    assert _reason(owner, _addition(SECOND_KEY, OTHER_KEY.public)) == "jws_key"


def test_an_addition_of_another_vehicle_or_epoch_is_foreign() -> None:
    """A key of the years before the sale stays there."""
    assert _reason(OWNER, _addition(owner=replace(OWNER, epoch=2))) == "key_foreign"
    assert _reason(OWNER, _addition(owner=replace(OWNER, vehicle=OTHER_VEHICLE))) == "key_foreign"


def test_keys_have_a_bound() -> None:
    """The bound itself passes."""
    publics = [SigningKey.from_seed(bytes([n]) * 32).public for n in range(100, 101 + ADDED_MAX)]
    tokens = [_addition(public=public) for public in publics]
    assert len(OWNER.with_added(tuple(tokens[:-1])).added) == ADDED_MAX
    assert _reason(OWNER, *tokens) == "key_excess"


@pytest.mark.parametrize(
    "x",
    [b"\0" * 32, b"\1" + b"\0" * 31, b"\xec" + b"\xff" * 30 + b"\x7f", b"\xff" * 32],
    ids=["zero", "neutral", "order 2", "not on the curve"],
)
def test_a_weak_key_is_refused(x: bytes) -> None:
    """With a point of small order anybody could sign."""
    assert _reason(OWNER, _signed_addition({"crv": "Ed25519", "kty": "OKP", "x": jws.base64url(x)})) == "key_weak"


@pytest.mark.parametrize(
    "key",
    [
        {"crv": "X25519", "kty": "OKP", "x": jws.base64url(SECOND_KEY.public)},
        {"crv": "Ed25519", "kty": "OKP", "x": jws.base64url(SECOND_KEY.public[:31])},
        {"crv": "Ed25519", "d": "AAAA", "kty": "OKP", "x": jws.base64url(SECOND_KEY.public)},
        {"crv": "Ed25519", "kty": "OKP", "x": 1},
        "key",
    ],
)
def test_a_key_in_another_form_is_refused(key: object) -> None:
    """Above all one with its secret beside it."""
    assert _reason(OWNER, _signed_addition(key)) == "key_malformed"


def _signed_addition(key: object) -> str:
    document = {"v": 1, "type": "owner-key", "vehicle": OWNER.vehicle, "epoch": 1, "key": key, "time_ms": GIVEN_MS}
    return jws.sign(jws.OWNER_KEY, document, OWNER_KEY.secret)


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"type": "owners"},
        {"epoch": 0},
        {"epoch": True},
        {"epoch": 2**32},
        {"keys": []},
        {"keys": [jws.jwk(OWNER_KEY.public)] * 2},
        {"keys": [jws.jwk(OWNER_KEY.public)] * (PINNED_MAX + 1)},
        {"vehicle": OWNER.vehicle.upper()},
        {"added": ["nothing"]},
        {"note": ""},
    ],
)
def test_a_broken_file_is_refused(changes: dict[str, Any]) -> None:
    """A unit without readable keys has no owner, and so forwards nothing."""
    data = canonical.encode(json.loads(encode_owner(OWNER)) | changes)
    with pytest.raises(RemoteError) as refusal:
        parse_owner(data)
    assert refusal.value.reason == "owner_malformed"
