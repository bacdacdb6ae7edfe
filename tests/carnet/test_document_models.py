"""Records, events and grant sets: the strict parsers agree with models that were written apart from them.

As `tests.carnet.test_offers` does for offers. What the parsers refuse must be refused as malformed, and nothing else.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from carnet import canonical, jws
from carnet.consent import encode_grant_set, parse_event, parse_grant_set, parse_record
from carnet.errors import RemoteError
from carnet.seen import Seen, check_seen, sign_seen
from tests import consentkit as kit
from tests.carnet.documentmodel import (
    HASH,
    OFFER_ID,
    RECIPIENT_ID,
    RECORD_ID,
    TENANT_ID,
    VEHICLE,
    Strict,
    changed,
    places,
)

Time = Annotated[int, Field(ge=0, le=2**53 - 1)]
Epoch = Annotated[int, Field(ge=1, le=2**32 - 1)]
Version = Annotated[int, Field(ge=1, le=1)]
Text = Annotated[str, Field(min_length=1)]


class RecordModel(Strict):
    v: Version
    type: Literal["record"]
    id: Annotated[str, Field(pattern=RECORD_ID)]
    offer: Annotated[str, Field(pattern=OFFER_ID)]
    offer_hash: Annotated[str, Field(pattern=HASH)]
    tenant: Annotated[str, Field(pattern=TENANT_ID)]
    recipient: Annotated[str, Field(pattern=RECIPIENT_ID)]
    vehicle: Annotated[str, Field(pattern=VEHICLE)]
    epoch: Epoch
    items: Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=1, max_length=256)]
    reference: Annotated[str, Field(pattern=r"\A[ -~]{0,64}\z")]
    language: Annotated[str, Field(pattern=r"\A[a-z]{2,3}(-[A-Z]{2})?\z")]
    given_ms: Time
    not_before_ms: Time
    expires_ms: Time


class Event(Strict):
    v: Version
    type: Literal["event"]
    record: Annotated[str, Field(pattern=RECORD_ID)]
    seq: Annotated[int, Field(ge=1, le=2**53 - 1)]
    prev: Annotated[str, Field(pattern=HASH)]
    time_ms: Time


class OwnersPlain(Event):
    event: Literal["pause", "resume", "withdraw"]


class OwnersRenewal(Event):
    event: Literal["renew"]
    expires_ms: Time


class Operators(Event):
    event: Literal["suspend", "revoke", "terminate", "invalidate", "silent"]
    by: Literal["operator"]
    reason: Annotated[str, Field(pattern=r"\A[a-z][a-z0-9_]{0,63}\z")]


class SetRecord(Strict):
    offer: Text
    record: Text
    events: Annotated[list[Text], Field(max_length=256)]

    @field_validator("offer")
    @classmethod
    def base64url(cls, text: str) -> str:
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        bits = "".join(f"{alphabet.index(character):06b}" for character in text)
        spare = len(bits) % 8
        if spare >= 6 or "1" in bits[len(bits) - spare :]:
            raise ValueError("base64url")
        return text


class Ended(Strict):
    id: Annotated[str, Field(pattern=RECORD_ID)]
    expires_ms: Time


class GrantSetModel(Strict):
    v: Version
    type: Literal["grants"]
    vehicle: Annotated[str, Field(pattern=VEHICLE)]
    epoch: Epoch
    generation: Annotated[int, Field(ge=0, le=2**32 - 1)]
    keys: Annotated[list[Text], Field(max_length=16)]
    records: Annotated[list[SetRecord], Field(max_length=64)]
    ended: Annotated[list[Ended], Field(max_length=1024)]

    @model_validator(mode="after")
    def between_entries(self) -> GrantSetModel:
        if any(one.id >= other.id for one, other in itertools.pairwise(self.ended)):
            raise ValueError("ended")
        if len({one.record for one in self.records}) < len(self.records):
            raise ValueError("twice")
        return self


class SeenModel(Strict):
    v: Version
    type: Literal["seen"]
    vehicle: Annotated[str, Field(pattern=VEHICLE)]
    epoch: Annotated[int, Field(ge=1, le=1)]
    """Of the example's owner; another one is another's word."""
    generation: Annotated[int, Field(ge=0, le=2**32 - 1)]


class SeenPlain(SeenModel):
    origin: Literal[""]
    log_size: Annotated[int, Field(ge=0, le=0)]


class SeenLog(SeenModel):
    origin: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._/-]*[a-z0-9])?$", max_length=128)]
    log_size: Annotated[int, Field(ge=1, le=2**53 - 1)]


OwnersModel = OwnersPlain | OwnersRenewal
OWNERS = [kit.OWNER_KEY.public]


def _payload(token: str) -> Any:
    return json.loads(jws.base64url_bytes(token.split(".")[1]))


def _signed(typ: str) -> Callable[[Any], str]:
    return lambda document: jws.sign(typ, document, kit.OWNER_KEY.secret)


GIVEN, RENEWED = kit.entries("renew")
PAUSED = kit.entries("pause")[1]
SUSPENDED = kit.entries("suspend")[1]
SET = kit.grant_set(
    3,
    kit.documents("pause"),
    kit.documents("revoke", id=kit.OTHER_RECORD_ID),
    keys=("a.b.c",),
    ended=((kit.RECORD_ID, 5), (kit.OTHER_RECORD_ID, 6)),
)
DOCUMENTS: dict[str, tuple[Any, Any, Callable[[Any], Any], set[str]]] = {
    "record": (
        _payload(GIVEN),
        RecordModel,
        lambda document: parse_record(_signed(jws.RECORD)(document), OWNERS),
        {"record_malformed"},
    ),
    "owner's event": (
        _payload(PAUSED),
        OwnersModel,
        lambda document: parse_event(_signed(jws.EVENT)(document), OWNERS),
        {"event_malformed", "event_author"},
    ),
    "owner's renewal": (
        _payload(RENEWED),
        OwnersModel,
        lambda document: parse_event(_signed(jws.EVENT)(document), OWNERS),
        {"event_malformed", "event_author"},
    ),
    "operator's event": (
        json.loads(SUSPENDED),
        Operators,
        lambda document: parse_event(canonical.encode(document).decode(), OWNERS),
        {"event_malformed", "event_author", "json_size"},
    ),
    "seen": (
        _payload(sign_seen(Seen(kit.VEHICLE, 1, 7), kit.OWNER_KEY.secret)),
        SeenPlain | SeenLog,
        lambda document: check_seen(_signed(jws.SEEN)(document), kit.OWNER),
        {"seen_malformed", "seen_foreign"},
    ),
    "seen log": (
        _payload(sign_seen(Seen(kit.VEHICLE, 1, 7, "carnet.example/log", 9), kit.OWNER_KEY.secret)),
        SeenPlain | SeenLog,
        lambda document: check_seen(_signed(jws.SEEN)(document), kit.OWNER),
        {"seen_malformed", "seen_foreign"},
    ),
    "grant set": (
        json.loads(encode_grant_set(SET)),
        GrantSetModel,
        lambda document: parse_grant_set(canonical.encode(document)),
        {"grants_malformed"},
    ),
}
"""Name -> (an example, its model, its parser, the reasons of its form)."""
VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 255, 256, 2**32 - 1, 2**32, 2**53 - 1, [], {}, [None], [0], [0, 0], [256], [-1],
    [True], ["x"], [""], ["x"] * 8, ["x"] * 9, ["x"] * 256, ["x"] * 257, [0] * 256, [0] * 257, "=", "=x", "=x\n",
    "=AA", "=AB", "=A", "=AAAA", "=AA==", "=A A", "=Ä", "=record", "=event", "=grants", "=pause", "=resume",
    "=renew", "=withdraw", "=give", "=expire", "=refuse", "=suspend", "=revoke", "=silent", "=operator", "=owner",
    "=de", "=de-AT", "=DE", "=deu", "=de-at", "=de-AT\n", "=a_1", "=A_1", "=1a", "=" + "a" * 64, "=" + "a" * 65,
    "=" + "0" * 64, "=" + "A" * 64, "=" + "٣" * 64, "=" + "x" * 63 + "~", "=" + "x" * 63 + "\x7f", "=" + kit.RECORD_ID,
    "=" + kit.OTHER_RECORD_ID, "=" + kit.OFFER_ID, "=" + kit.TENANT, "=" + kit.RECIPIENT, "=" + kit.VEHICLE,
    "=" + kit.VEHICLE[:-1] + "b", "=" + kit.VEHICLE.upper(), "=" + kit.RECORD_ID + "\n", "drop", "rename", "twice",
]  # fmt: skip
MANY = 10
"""So many changes of every document must still be accepted: a parser that refuses all is no agreement."""


def _accepts(model: Any, document: Any) -> bool:
    try:
        TypeAdapter(model).validate_python(document)
    except ValidationError:
        return False
    return True


def _outcome(parse: Callable[[Any], Any], document: Any) -> str:
    try:
        parse(document)
    except RemoteError as refusal:
        return refusal.reason
    return "accepted"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_example_is_accepted_by_both(name: str) -> None:
    document, model, parse, _ = DOCUMENTS[name]
    assert (_accepts(model, document), _outcome(parse, document)) == (True, "accepted")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_change_of_a_member_is_judged_alike_by_parser_and_model(name: str) -> None:
    """Law: the form of a document is what the page says, read twice by two people."""
    document, model, parse, reasons = DOCUMENTS[name]
    accepted = 0
    for place, change in itertools.product(places(document), VALUES):
        other = changed(document, place, change)
        outcome = _outcome(parse, other)
        assert outcome in {"accepted", *reasons}, (place, change)
        assert (outcome == "accepted") == _accepts(model, other), (place, change, outcome)
        accepted += outcome == "accepted"
    assert accepted > MANY


@pytest.mark.parametrize("name", DOCUMENTS)
@settings(derandomize=True, max_examples=300, deadline=None)
@given(data=st.data())
def test_two_changes_at_once_are_judged_alike(name: str, data: st.DataObject) -> None:
    """One refusal does not hide that another one is missing: most second changes meet a document that is well."""
    document, model, parse, reasons = DOCUMENTS[name]
    for _ in range(2):
        places_now = places(document)
        if not places_now:
            break
        place, change = data.draw(st.sampled_from(places_now)), data.draw(st.sampled_from(VALUES))
        document = changed(document, place, change)
    outcome = _outcome(parse, document)
    assert outcome in {"accepted", *reasons}
    assert (outcome == "accepted") == _accepts(model, document)
