"""Attacks on consent: somebody who is not the owner tries to make car or cloud believe in more than the owner signed.

Law: after every attack nothing is allowed that was not before, and the refusal says which document was wrong.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import nacl.bindings as sodium
import pytest

from carnet import canonical, jws
from carnet.consent import CompiledSet, Documents, Floors, OwnerKeys, State, compile_set, sign_addition
from carnet.errors import RemoteError
from carnet.grants import compile_grant
from tests.consentkit import (
    DAY_MS,
    GIVEN_MS,
    OFFER,
    OTHER_KEY,
    OTHER_RECORD_ID,
    OTHER_VEHICLE,
    OWNER,
    OWNER_KEY,
    RECORD_ID,
    SECOND_KEY,
    documents,
    entries,
    event,
    grant_set,
    item,
    items,
    offer_bytes,
    token,
)


def _refusal(offer: bytes, record: str, events: list[str] | None = None, owner: OwnerKeys = OWNER) -> str:
    with pytest.raises(RemoteError) as refusal:
        compile_grant(offer, record, events or [], owner)
    return refusal.value.reason


def _deliver(generation: int, *records: Documents, floors: Floors, **changes: Any) -> CompiledSet:
    return compile_set(grant_set(generation, *records, **changes), OWNER, floors)


def _floors_after(*kinds: str) -> Floors:
    """A car that has seen the example record with these events in generation 5."""
    return _deliver(5, documents(*kinds), floors=Floors()).floors


# W20: policy rollback, expired, wrong epoch


@pytest.mark.parametrize("generation", [0, 4])
def test_w20_an_older_grant_set_is_refused(generation: int) -> None:
    """The cloud, or who restored it, sends the set from before the withdrawal."""
    with pytest.raises(RemoteError) as refusal:
        _deliver(generation, documents(), floors=_floors_after("withdraw"))
    assert refusal.value.reason == "generation_rolled_back"


def test_w20_an_older_history_under_a_new_generation_is_refused() -> None:
    """The cloud leaves out the pause and counts on."""
    delivered = _deliver(6, documents(), floors=_floors_after("pause"))
    assert (delivered.grants, [one.reason for one in delivered.refused]) == ((), ["events_rolled_back"])


def test_w20_a_withdrawn_record_does_not_come_back_with_another_history() -> None:
    """Neither without its last event, nor with a resume signed on another branch, nor after having been away."""
    floors = _floors_after("withdraw")
    for generation, attempt in enumerate([(), ("suspend", "resume"), ("pause", "resume", "renew")], 6):
        delivered = _deliver(generation, documents(*attempt), floors=floors)
        assert (delivered.grants, [one.reason for one in delivered.refused]) == ((), ["record_ended"])
        floors = delivered.floors


def test_w20_a_fork_of_a_living_record_is_refused() -> None:
    """The owner paused; the cloud shows a branch of equal length on which the owner resumed from something else."""
    floors = _floors_after("pause")
    delivered = _deliver(6, documents("suspend", "resume"), floors=floors)
    assert [one.reason for one in delivered.refused] == ["events_forked"]


def test_w20_a_renewal_held_back_until_the_withdrawal_is_forgotten_gives_nothing() -> None:
    """Signed before the withdrawal, shown as soon as the ended record is no longer remembered: it has run out."""
    story = entries()
    end_ms = GIVEN_MS + 30 * DAY_MS
    longest = event("renew", story, end_ms - 1, expires_ms=end_ms - 1 + 365 * DAY_MS)
    floors = _floors_after("withdraw")
    forgotten_ms = min(end for end in floors.ended.values()) + 365 * DAY_MS
    assert floors.pruned(forgotten_ms - 1).ended
    delivered = _deliver(6, Documents(OFFER, story[0], (longest,)), floors=floors.pruned(forgotten_ms))
    assert not any(grant.allows(forgotten_ms) for grant in delivered.grants)


def test_w20_an_expired_record_allows_and_covers_nothing() -> None:
    """Whatever the set around it says, and with no job that would have to run."""
    (grant,) = _deliver(9, documents(), floors=Floors()).grants
    end_ms = GIVEN_MS + 30 * DAY_MS
    assert grant.state_at(end_ms) is State.EXPIRED
    assert not grant.allows(end_ms)
    assert not grant.covers(end_ms, end_ms)


@pytest.mark.parametrize("changes", [{"epoch": 2}, {"vehicle": OTHER_VEHICLE}])
def test_w20_a_record_of_another_epoch_or_vehicle_is_refused(changes: dict[str, Any]) -> None:
    """The seller's consents, with the seller's real signature, in the buyer's car; or the neighbour's."""
    assert _refusal(OFFER, token(**changes)) in ("record_epoch", "record_vehicle")
    with pytest.raises(RemoteError) as refusal:
        _deliver(1, floors=Floors(), **changes)
    assert refusal.value.reason in ("grants_epoch", "grants_vehicle")


# widening without the owner


def test_a_replayed_resume_does_not_undo_a_second_pause() -> None:
    """The owner paused, resumed and paused again; the first resume is shown once more."""
    story = entries("pause", "resume", "pause")
    assert _refusal(OFFER, story[0], [*story[1:], story[2]]) == "event_seq"


def test_a_resume_of_another_record_does_not_resume_this_one() -> None:
    """Both are the owner's, both were paused."""
    other = entries("pause", "resume", id=OTHER_RECORD_ID)
    story = entries("pause")
    assert _refusal(OFFER, story[0], [story[1], other[2]]) == "event_record"


@pytest.mark.parametrize("kind", ["resume", "renew", "pause", "withdraw", "give", "expire"])
def test_the_operator_cannot_write_the_owners_events(kind: str) -> None:
    """Even narrowing in the owner's name is refused: the operator has words of its own."""
    story = entries("pause")
    forged = event("suspend", story).replace('"event":"suspend"', f'"event":"{kind}"')
    assert _refusal(OFFER, story[0], [story[1], forged]) == "event_author"


def test_a_foreign_key_signs_nothing() -> None:
    """A record, an event and a key, by somebody who is not the owner."""
    story = entries("pause")
    assert _refusal(OFFER, token(key=OTHER_KEY)) == "jws_key"
    assert _refusal(OFFER, story[0], [story[1], event("resume", story, GIVEN_MS + 2 * DAY_MS, OTHER_KEY)]) == "jws_key"
    forged = sign_addition(OWNER, OTHER_KEY.public, GIVEN_MS, OTHER_KEY.secret)
    delivered = _deliver(1, Documents(OFFER, token(key=OTHER_KEY)), floors=Floors(), keys=(forged,))
    assert [(one.kind, one.reason) for one in delivered.refused] == [("key", "jws_key"), ("record", "jws_key")]
    assert delivered.owner.keys == OWNER.keys


def test_an_added_key_cannot_add_its_own_friends() -> None:
    """A lost second phone gives away no more than itself."""
    second = sign_addition(OWNER, SECOND_KEY.public, GIVEN_MS, OWNER_KEY.secret)
    third = sign_addition(OWNER, OTHER_KEY.public, GIVEN_MS, SECOND_KEY.secret)
    delivered = _deliver(1, floors=Floors(), keys=(second, third))
    assert delivered.owner.added == (SECOND_KEY.public,)


# tokens


def _forged(header: dict[str, Any], signature: bytes) -> str:
    payload = token().split(".")[1]
    return ".".join((jws.base64url(canonical.encode(header)), payload, jws.base64url(signature)))


KID = jws.thumbprint(OWNER_KEY.public)


def test_algorithm_none_is_not_a_case() -> None:
    """With an empty signature, one of zeros, and every spelling of none."""
    for name in ("none", "None", "NONE", ""):
        assert _refusal(OFFER, _forged({"alg": name, "kid": KID, "typ": jws.RECORD}, bytes(64))) == "jws_algorithm"
    header, payload, _ = _forged({"alg": "none", "kid": KID, "typ": jws.RECORD}, b"x").split(".")
    assert _refusal(OFFER, f"{header}.{payload}.") == "jws_malformed"


def test_the_public_key_is_no_shared_secret() -> None:
    """HS256 with the owner's public key, which everybody knows."""
    header, payload, _ = _forged({"alg": "HS256", "kid": KID, "typ": jws.RECORD}, b"x").split(".")
    code = hmac.new(OWNER_KEY.public, f"{header}.{payload}".encode(), hashlib.sha256).digest()
    assert _refusal(OFFER, f"{header}.{payload}.{jws.base64url(code)}") == "jws_algorithm"


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip"])
def test_a_header_brings_nothing_along(member: str) -> None:
    """No key, no address, no extension."""
    header = {"alg": "EdDSA", "kid": KID, "typ": jws.RECORD, member: jws.jwk(OTHER_KEY.public)}
    assert _refusal(OFFER, _forged(header, bytes(64))) == "jws_header"


def test_a_signature_for_another_purpose_is_none() -> None:
    """The owner really signed these words, as a request or as an event."""
    document = canonical.parse(_payload(), 8192)
    for typ in (jws.REQUEST, jws.EVENT, jws.OWNER_KEY):
        assert _refusal(OFFER, jws.sign(typ, document, OWNER_KEY.secret)) == "jws_type"


def test_a_signature_has_one_form() -> None:
    """S plus the group's order is the same equation and not the same signature."""
    header, payload, signature = token().split(".")
    order = 2**252 + 27742317777372353535851937790883648493
    raw = jws.base64url_bytes(signature)
    second = raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    assert _refusal(OFFER, f"{header}.{payload}.{jws.base64url(second)}") == "jws_signature"


def test_a_token_in_json_form_or_with_padding_is_none() -> None:
    """Other serialisations of the same signature are other ways in."""
    header, payload, signature = token().split(".")
    flattened = json.dumps({"protected": header, "payload": payload, "signature": signature})
    assert _refusal(OFFER, flattened) == "jws_malformed"
    padded = base64.urlsafe_b64encode(jws.base64url_bytes(signature)).decode()
    assert _refusal(OFFER, f"{header}.{payload}.{padded}") == "jws_malformed"


# documents that can be read in two ways


def _signed(payload: bytes) -> str:
    """Words that the owner's own key signed, whatever they are."""
    start = f"{token().split('.')[0]}.{jws.base64url(payload)}"
    return f"{start}.{jws.base64url(sodium.crypto_sign(start.encode(), OWNER_KEY.secret)[:64])}"


def _payload() -> bytes:
    return jws.base64url_bytes(token().split(".")[1])


@pytest.mark.parametrize(
    "old, new, reason",
    [
        (b'"epoch":1', b'"epoch":1,"epoch":2', "json_duplicate_key"),
        (b'"epoch":1', b'"epoch":1.0', "json_number"),
        (b'"epoch":1', b'"epoch":1e0', "json_number"),
        (b'"epoch":1', b'"epoch":true', "record_malformed"),
        (b'"epoch":1', b'"epoch":"1"', "record_malformed"),
        (b'"epoch":1', b'"epoch":01', "json_malformed"),
        (b'"epoch":1', b'"\\u0065poch":1', "json_not_canonical"),
        (b'"epoch":1', b'"epoch":1,"epochs":1', "record_malformed"),
        (b'"items":[0,1,2]', b'"items":[false,1,2]', "record_malformed"),
        (b'"items":[0,1,2]', b'"items":[-1,0,1]', "record_malformed"),
        (b'"language":"de"', b'"language":"d\xd0\xb5"', "record_malformed"),
        (b"Auftrag 4711", b"Auftrag 4711\\u0000", "record_malformed"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_although_it_is_signed(old: bytes, new: bytes, reason: str) -> None:
    """Two readers must never understand one signature differently."""
    assert old in _payload()
    assert _refusal(OFFER, _signed(_payload().replace(old, new))) == reason


def test_a_vehicle_in_another_spelling_is_none() -> None:
    """Upper case, full-width letters, or a blank after it."""
    for name in (OWNER.vehicle.upper(), OWNER.vehicle.replace("a", "\uff41"), OWNER.vehicle + " "):
        assert _refusal(OFFER, token(vehicle=name)) == "record_malformed"


@pytest.mark.parametrize("name", ["Werkstatt\u202e", "Werk\u200bstatt", "Werkstatt Su\u0308d", "\u2066Werkstatt\u2069"])
def test_a_recipient_cannot_hide_behind_a_name(name: str) -> None:
    """The owner reads the name before saying yes."""
    assert _refusal(offer_bytes(recipient_name=name), token()) == "text_deceptive"


def test_oversize_is_refused_before_it_costs_anything() -> None:
    """Offer, token, operator's event and set; deep nesting too."""
    story = entries()
    assert _refusal(b" " * 65_537, token()) == "json_size"
    assert _refusal(b"[" * 65_536, token()) == "json_malformed"
    assert _refusal(OFFER, "a" * 10_000_000) == "jws_malformed"
    assert _refusal(OFFER, story[0], ["{" + " " * 1024]) == "json_size"
    assert _refusal(OFFER, story[0], ["{}"] * 257) == "event_excess"


# offer and record


def test_an_offer_swapped_under_a_record_is_refused() -> None:
    """Same id, same parties, one more day of keeping, one more item, finer reading: the hash is another."""
    fine = items()
    fine[0]["transform"] = {}
    for swapped in (
        offer_bytes(retention_days=91),
        offer_bytes(items=[*items(), item("location", "optional")]),
        offer_bytes(items=fine),
        offer_bytes(incentive=None),
    ):
        assert _refusal(swapped, token()) == "record_offer"


def test_an_item_outside_the_offer_is_refused() -> None:
    """The next index, the largest, and one twice."""
    for chosen in ((0, 4), (0, 255), (0, 0, 1, 2)):
        assert _refusal(OFFER, token(items=chosen)) == "record_items"


def test_a_required_item_cannot_be_left_out_nor_a_condition_taken_alone() -> None:
    """A yes is to what was asked; a condition is looked at for something or not at all."""
    assert _refusal(OFFER, token(items=(1, 2))) == "record_required"
    assert _refusal(OFFER, token(items=(0, 2))) == "record_condition"


def test_an_incentive_that_is_taken_back_cannot_be_written() -> None:
    """Neither as another end nor as another member."""
    kept = {"kind": "discount", "value": "10 %", "ends": "with_consent"}
    for incentive in ({**kept, "ends": "claw_back"}, {**kept, "claw_back": True}):
        assert _refusal(offer_bytes(incentive=incentive), token()) == "offer_malformed"


def test_one_broken_record_takes_no_good_one_with_it() -> None:
    """Every kind of breakage beside a good record: the good one is granted each time."""
    good = documents(id=OTHER_RECORD_ID)
    story = entries("pause")
    broken = [
        Documents(b"\xff", story[0]),
        Documents(OFFER, "x"),
        Documents(OFFER, token(key=OTHER_KEY)),
        Documents(offer_bytes(retention_days=1), story[0]),
        Documents(OFFER, story[0], ("{}",)),
        Documents(OFFER, story[0], (story[1], story[1])),
    ]
    for generation, one in enumerate(broken, 1):
        delivered = _deliver(generation, one, good, floors=Floors())
        assert [grant.record_id for grant in delivered.grants] == [OTHER_RECORD_ID]
        assert len(delivered.refused) == 1


def test_no_refusal_repeats_what_it_refuses() -> None:
    """Messages go into logs; a VIN that somebody put into a document does not."""
    marker = "WVWZZZ1JZXW000001"
    for offer, record in (
        (offer_bytes(purpose={"code": marker, "text": marker, "vin": marker}), token()),
        (offer_bytes(storage_location=marker), token()),
        (offer_bytes(items=[item(f"Vehicle.{marker}!")]), token()),
        (OFFER, token(reference=marker * 10)),
        (OFFER, token(language=marker)),
        (OFFER, marker),
    ):
        with pytest.raises(RemoteError) as refusal:
            compile_grant(offer, record, [], OWNER)
        assert marker not in str(refusal.value)
        assert marker not in repr(refusal.value)


def test_an_empty_floor_is_the_only_way_to_begin_again() -> None:
    """A floor of the epoch before is not carried into the next: there the vehicle has another owner's keys."""
    floors = _floors_after("withdraw")
    bought = replace(OWNER, epoch=2, pinned=(OTHER_KEY.public,))
    with pytest.raises(RemoteError) as refusal:
        compile_set(grant_set(6, documents()), bought, floors)
    assert refusal.value.reason == "grants_epoch"
    delivered = compile_set(grant_set(0, documents(epoch=2), epoch=2), bought, Floors())
    assert [(one.record_id, one.reason) for one in delivered.refused] == [(RECORD_ID, "jws_key")]
