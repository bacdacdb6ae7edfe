"""The owner's keys: pinned ones count, further ones only by the word of a pinned one, for this vehicle and epoch."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from carnet import canonical, jws
from carnet.consent import OwnerKeys, encode_owner, parse_owner, sign_addition, sign_removal
from carnet.errors import RemoteError
from carnet.grants import compile_grant
from carnet.keys import SigningKey
from carnet.ownerkeys import ADDED_MAX, PINNED_MAX, TOKENS_MAX, claimed_change
from tests.consentkit import (
    DAY_MS,
    GIVEN_MS,
    OFFER,
    OTHER_KEY,
    OTHER_VEHICLE,
    OWNER,
    OWNER_KEY,
    SECOND_KEY,
    event,
    token,
)


def _addition(signer: SigningKey = OWNER_KEY, public: bytes = SECOND_KEY.public, owner: OwnerKeys = OWNER) -> str:
    return sign_addition(owner, public, GIVEN_MS, signer.secret)


def _removal(signer: SigningKey = OWNER_KEY, public: bytes = SECOND_KEY.public, owner: OwnerKeys = OWNER) -> str:
    return sign_removal(owner, public, GIVEN_MS, signer.secret)


def _reason(owner: OwnerKeys, *tokens: str) -> str:
    with pytest.raises(RemoteError) as refusal:
        owner.with_tokens(tokens)
    return refusal.value.reason


def test_the_file_comes_back_with_what_was_added() -> None:
    """Added keys are stored as the tokens that prove them."""
    owner = OWNER.with_tokens((_addition(),))
    assert parse_owner(encode_owner(owner)) == owner
    assert owner.keys == (OWNER_KEY.public, SECOND_KEY.public)


def test_an_added_key_signs_records() -> None:
    """A second phone of the same owner."""
    signed = token(key=SECOND_KEY)
    assert compile_grant(OFFER, signed, (), OWNER.with_tokens((_addition(),))).record_id
    with pytest.raises(RemoteError):
        compile_grant(OFFER, signed, (), OWNER)


def test_an_addition_counts_once() -> None:
    """Grant sets repeat it; the file does not grow."""
    owner = OWNER.with_tokens((_addition(), _addition()))
    assert owner.with_tokens((_addition(),)) == owner
    assert len(owner.tokens) == 1


def test_an_added_key_adds_no_other() -> None:
    """Only what was pinned by hand can add."""
    owner = OWNER.with_tokens((_addition(),))
    assert _reason(owner, _addition(SECOND_KEY, OTHER_KEY.public)) == "jws_key"


def test_an_addition_of_another_vehicle_or_epoch_is_foreign() -> None:
    """A key of the years before the sale stays there."""
    assert _reason(OWNER, _addition(owner=replace(OWNER, epoch=2))) == "key_foreign"
    assert _reason(OWNER, _addition(owner=replace(OWNER, vehicle=OTHER_VEHICLE))) == "key_foreign"


def test_keys_have_a_bound() -> None:
    """The bound itself passes."""
    publics = [SigningKey.from_seed(bytes([n]) * 32).public for n in range(100, 101 + ADDED_MAX)]
    tokens = [_addition(public=public) for public in publics]
    assert len(OWNER.with_tokens(tuple(tokens[:-1])).added) == ADDED_MAX
    assert _reason(OWNER, *tokens) == "key_excess"


def test_a_key_is_pinned_beside_the_others_once_and_up_to_a_bound() -> None:
    beside = OWNER.with_pinned(SECOND_KEY.public)
    assert (beside.pinned, beside.keys) == ((OWNER_KEY.public, SECOND_KEY.public),) * 2
    assert beside.with_pinned(OWNER_KEY.public) == beside.with_pinned(SECOND_KEY.public) == beside
    full = replace(OWNER, pinned=tuple(SigningKey.from_seed(bytes([n]) * 32).public for n in range(PINNED_MAX)))
    assert full.with_pinned(full.pinned[-1]) == full
    with pytest.raises(RemoteError) as refusal:
        full.with_pinned(OWNER_KEY.public)
    assert refusal.value.reason == "key_excess"


def test_what_was_removed_counts_never_again_in_whatever_order_the_tokens_come() -> None:
    """A cloud that keeps the addition brings nothing back with it."""
    added, removed = _addition(), _removal()
    again = sign_addition(OWNER, SECOND_KEY.public, GIVEN_MS + 1, OWNER_KEY.secret)
    for tokens in itertools.permutations((added, removed, again)):
        owner = OWNER.with_tokens(tokens)
        assert (owner.keys, owner.removed) == ((OWNER_KEY.public,), (SECOND_KEY.public,))
        assert parse_owner(encode_owner(owner)) == owner


def test_a_removal_takes_its_own_key_alone() -> None:
    owner = OWNER.with_tokens((_addition(), _addition(public=OTHER_KEY.public), _removal()))
    assert (owner.added, owner.removed) == ((OTHER_KEY.public,), (SECOND_KEY.public,))


@pytest.mark.parametrize(("change", "act"), [(_addition(), "owner-key"), (_removal(), "owner-key-removal")])
def test_a_token_is_asked_what_it_claims_before_anybody_stands_for_it(change: str, act: str) -> None:
    assert claimed_change(change) == (act, GIVEN_MS)
    head, _, signature = change.split(".")
    for broken, reason in ((jws.base64url(b"{}"), "key_malformed"), ("!", "jws_malformed")):
        with pytest.raises(RemoteError) as refusal:
            claimed_change(f"{head}.{broken}.{signature}")
        assert refusal.value.reason == reason


def test_a_key_is_removed_by_a_pinned_one_alone_and_a_pinned_one_never() -> None:
    """So that one is always left."""
    owner = OWNER.with_tokens((_addition(),))
    assert _reason(owner, _removal(SECOND_KEY)) == "jws_key"
    assert _reason(owner, _removal(SECOND_KEY, OWNER_KEY.public)) == "jws_key"
    assert _reason(owner, _removal(OWNER_KEY, OWNER_KEY.public)) == "key_pinned"
    assert _reason(OWNER, _removal(owner=replace(OWNER, epoch=2))) == "key_foreign"


def test_removed_keys_have_a_bound_with_the_added_ones() -> None:
    """Whoever has added eight in one epoch adds no ninth, whatever was removed."""
    publics = [SigningKey.from_seed(bytes([n]) * 32).public for n in range(100, 101 + ADDED_MAX)]
    owner = OWNER.with_tokens(tuple(_addition(public=public) for public in publics[:-1]))
    owner = owner.with_tokens(tuple(_removal(public=public) for public in publics[:-1]))
    assert (len(owner.tokens), owner.keys) == (TOKENS_MAX, OWNER.keys)
    assert _reason(owner, _addition(public=publics[-1])) == "key_excess"


@pytest.mark.parametrize(
    ("kinds", "by_second", "state"),
    [
        ((), {"record"}, "withdrawn"),
        (("pause", "resume"), {"resume"}, "withdrawn"),
        (("renew",), {"renew"}, "withdrawn"),
        (("pause",), {"pause"}, "suspended"),
        (("pause", "resume"), {"pause"}, "given"),
        (("withdraw",), {"withdraw"}, "withdrawing"),
        (("suspend",), {"record"}, "withdrawn"),
        (("revoke", "silent"), {"record"}, "revoked"),
    ],
)
def test_what_a_removed_key_widened_ends_with_it_and_what_it_narrowed_stays(
    kinds: tuple[str, ...], by_second: set[str], state: str
) -> None:
    """A stolen key must be worth nothing, and its owner's no must not become a yes again."""
    entries = [token(key=SECOND_KEY if "record" in by_second else OWNER_KEY)]
    for number, kind in enumerate(kinds, 1):
        extra = {"expires_ms": GIVEN_MS + 60 * DAY_MS} if kind == "renew" else {}
        key = SECOND_KEY if kind in by_second else OWNER_KEY
        entries.append(event(kind, entries, GIVEN_MS + number * DAY_MS, key=key, **extra))
    both = OWNER.with_tokens((_addition(),))
    grant = compile_grant(OFFER, entries[0], entries[1:], both.with_tokens((_removal(),)))
    assert grant.state.value == state
    assert grant.allows(GIVEN_MS + 10 * DAY_MS) == (state == "given")


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
