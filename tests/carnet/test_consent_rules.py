"""Rules of consent documents one by one, that the large properties and vectors pass by."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from carnet import canonical, jws
from carnet.consent import (
    Ceiling,
    Documents,
    EventKind,
    Floors,
    Grant,
    Kind,
    Mode,
    RecordEvent,
    State,
    choose,
    compile_set,
    explain,
    item_allows,
    parse_event,
    parse_offer,
    sign_addition,
    write_event,
)
from carnet.errors import ConsentError, LocalProtocolError, RemoteError
from carnet.grants import compile_grant
from carnet.recordevents import EVENTS_MAX, _require_longer, begin
from carnet.records import claimed_id, parse_record
from carnet.signals import Category, Sensitivity
from carnet.transforms import Transform
from tests.consentkit import (
    DAY_MS,
    GIVEN_MS,
    IGNITION,
    LATITUDE,
    ODOMETER,
    OFFER,
    OWNER,
    OWNER_KEY,
    RECORD_ID,
    SECOND_KEY,
    SPEED,
    documents,
    entries,
    event,
    grant_set,
    item,
    offer_bytes,
    record,
    token,
    when,
)


def compiled(*kinds: str) -> Grant:
    first, *events = entries(*kinds)
    return compile_grant(OFFER, first, events, OWNER)


def refusal(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(RemoteError) as refused:
        call(*arguments, **named)
    return refused.value.reason


# grants and choices


def test_the_transform_of_one_item_is_no_leave_for_another_path() -> None:
    """The odometer may go every minute, the speed every second: never the other way round."""
    grant = compiled()
    each_second, each_minute = Transform(interval_ms=1000, round="0.5"), Transform(interval_ms=60_000)
    assert item_allows(grant, ODOMETER, Category.DRIVING, each_second) is None
    assert item_allows(grant, SPEED, Category.DRIVING, each_minute) is None
    assert item_allows(grant, "Vehicle.Elsewhere", Category.DRIVING, each_minute) is None


@pytest.mark.parametrize("wrong", [(0,), (2,), (4,), (1, 0)], ids=["required", "condition", "none", "one of two"])
def test_only_optional_items_can_be_chosen(wrong: tuple[int, ...]) -> None:
    with pytest.raises(LocalProtocolError) as fault:
        choose(parse_offer(OFFER), wrong)
    assert fault.value.reason == "not_optional"


def test_a_yes_to_conditions_alone_is_no_yes() -> None:
    """Something would be looked at for nobody."""
    wanted = [item(ODOMETER, "optional"), item(SPEED, "optional", when=[when(IGNITION, ">=", "2")])]
    offer = offer_bytes(items=[*wanted, item(IGNITION, "condition")])
    assert refusal(compile_grant, offer, token(offer, optional=(0,), items=(2,)), (), OWNER) == "record_items"


def test_what_is_optional_is_not_chosen_because_another_item_depends_on_it() -> None:
    """It would be sent without a yes; looking at it takes the yes as well, so the record without one is refused."""
    wanted = [item(ODOMETER, when=[when(SPEED, "==", "0")]), item(SPEED, "optional")]
    offer = offer_bytes(items=wanted)
    assert choose(parse_offer(offer)) == (0,)
    assert choose(parse_offer(offer), (1,)) == (0, 1)
    assert refusal(compile_grant, offer, token(offer, optional=()), (), OWNER) == "record_condition"


def test_what_is_sent_may_depend_on_itself() -> None:
    """The speed, but only above a limit: no item beside it is needed."""
    offer = offer_bytes(items=[item(SPEED, when=[when(SPEED, ">", "100")])])
    assert [each.path for each in compile_grant(offer, token(offer, optional=()), (), OWNER).items] == [SPEED]


@pytest.mark.parametrize("payload", [["id"], {}, {"id": 1}, {"id": "rec_x"}, "id", 7, None])
def test_a_token_that_names_no_record_claims_none(payload: object) -> None:
    """Whatever it holds instead: it is only asked in order to say what was refused."""
    assert claimed_id(f"AAAA.{jws.base64url(canonical.encode(payload))}.AAAA") is None
    assert claimed_id(token()) == RECORD_ID


# events


def signed(**changes: Any) -> str:
    """An owner's event as it would be, but for the changes; None leaves a member out."""
    document = {
        "v": 1, "type": "event", "record": RECORD_ID, "seq": 1, "event": "renew", "time_ms": GIVEN_MS,
        "prev": "0" * 64, "expires_ms": GIVEN_MS, **changes,
    }  # fmt: skip
    return jws.sign(jws.EVENT, {key: value for key, value in document.items() if value is not None}, OWNER_KEY.secret)


def operators(**changes: Any) -> str:
    """The same of the operator."""
    document = {
        "v": 1, "type": "event", "record": RECORD_ID, "seq": 1, "event": "suspend", "time_ms": GIVEN_MS,
        "prev": "0" * 64, "by": "operator", "reason": "for_a_test", **changes,
    }  # fmt: skip
    return canonical.encode(document).decode()


def parsed(entry: str) -> object:
    return parse_event(entry, OWNER.keys)


def test_the_numbers_of_an_event_begin_where_the_document_says() -> None:
    found = parse_event(signed(expires_ms=0, time_ms=0), OWNER.keys)
    assert (found.seq, found.time_ms, found.expires_ms) == (1, 0, 0)
    assert parse_event(operators(time_ms=0), ()).time_ms == 0
    for wrong in ({"seq": 0}, {"time_ms": -1}):
        assert refusal(parsed, signed(**wrong)) == "event_malformed"
        assert refusal(parsed, operators(**wrong)) == "event_malformed"
    assert refusal(parsed, signed(expires_ms=-1)) == "event_malformed"


@pytest.mark.parametrize("wrong", [{"v": 0}, {"v": 2}, {"v": True}, {"type": "record"}, {"prev": "0" * 62}, {"x": 1}])
def test_an_event_of_another_form_is_refused_whoever_made_it(wrong: dict[str, Any]) -> None:
    assert refusal(parsed, signed(**wrong)) == "event_malformed"
    assert refusal(parsed, operators(**wrong)) == "event_malformed"


def test_the_operators_event_says_that_it_is_his_and_why() -> None:
    for wrong in ({"by": "owner"}, {"by": ""}, {"reason": ""}, {"reason": "Not A Word"}):
        assert refusal(parsed, operators(**wrong)) == "event_malformed"
    assert parse_event(operators(), ()).reason == "for_a_test"
    assert parse_event(signed(), OWNER.keys).reason == ""


@pytest.mark.parametrize(("events", "reason"), [(EVENTS_MAX, "event_malformed"), (EVENTS_MAX + 1, "event_excess")])
def test_too_many_events_are_not_even_read(events: int, reason: str) -> None:
    """As many as there may be are, whatever is in them."""
    assert refusal(compile_grant, OFFER, token(), ("{}",) * events, OWNER) == reason


@pytest.mark.parametrize("kind", ["give", "refuse", "expire", "suspend"])
def test_an_owner_signs_no_event_that_is_not_his_to_write(kind: str) -> None:
    """A yes is a record, an end by the clock is nobody's word."""
    assert refusal(parsed, signed(event=kind, expires_ms=None)) == "event_author"


@pytest.mark.parametrize("kind", ["pause", "resume", "renew", "withdraw", "expire"])
def test_the_operator_writes_no_event_of_the_owner_or_the_clock(kind: str) -> None:
    assert refusal(parsed, operators(event=kind)) == "event_author"


def test_a_signed_list_is_no_event() -> None:
    assert refusal(parsed, jws.sign(jws.EVENT, ["event"], OWNER_KEY.secret)) == "event_malformed"


def test_what_is_no_text_at_all_is_refused_like_any_other() -> None:
    """Half of a pair of surrogates comes out of a JSON escape, and has no form in UTF-8."""
    assert refusal(parsed, '{"v":"\ud800"}').startswith("json_")


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        *((kind, OWNER_KEY.secret) for kind in (EventKind.GIVE, EventKind.EXPIRE, EventKind.SUSPEND, EventKind.SILENT)),
        *((kind, None) for kind in (EventKind.GIVE, EventKind.EXPIRE, EventKind.PAUSE, EventKind.RESUME)),
    ],
)
def test_nobody_is_written_an_event_that_is_not_his(kind: EventKind, secret: bytes | None) -> None:
    """Neither the other side's, nor what is never a document."""
    with pytest.raises(LocalProtocolError) as fault:
        write_event(RecordEvent(RECORD_ID, 1, kind, GIVEN_MS, "0" * 64), secret)
    assert fault.value.reason == "event_actor"


def test_a_consent_in_force_was_narrowed_by_nobody() -> None:
    """Whatever happened before: a pause that is over, or an extension, silences nothing."""
    for kinds in ((), ("pause", "resume"), ("suspend", "resume"), ("renew",)):
        grant = compiled(*kinds)
        assert (grant.state, grant.narrowed_by) == (State.GIVEN, None)


@pytest.mark.parametrize(
    ("kinds", "by"),
    [
        (("pause",), EventKind.PAUSE),
        (("pause", "renew"), EventKind.PAUSE),
        (("pause", "withdraw"), EventKind.WITHDRAW),
        (("withdraw", "silent"), EventKind.WITHDRAW),
        (("revoke", "silent"), EventKind.REVOKE),
    ],
)
def test_who_narrowed_last_is_who_silences(kinds: tuple[str, ...], by: EventKind) -> None:
    """A renewal of what is paused, and the word that all is silent, change nothing of that."""
    assert compiled(*kinds).narrowed_by is by


@pytest.mark.parametrize(("kind", "by"), [("revoke", EventKind.WITHDRAW), ("suspend", EventKind.PAUSE)])
def test_what_the_operator_writes_on_the_owners_word_is_the_owners(kind: str, by: EventKind) -> None:
    """A restored store has lost the owner's own event; who asks why must not hear of the operator."""
    (first,) = entries()
    assert compile_grant(OFFER, first, [event(kind, [first], reason="owner_asked")], OWNER).narrowed_by is by
    assert compile_grant(OFFER, first, [event(kind, [first])], OWNER).narrowed_by is EventKind(kind)


# offers


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"purpose": {"code": "1x", "text": "Why."}}, "purpose.code: "),
        ({"purpose": {"code": 7, "text": "Why."}}, "purpose.code: "),
        ({"storage_location": "Germany"}, "storage_location: "),
        ({"storage_location": "DE\n"}, "storage_location: "),
    ],
)
def test_a_code_has_its_form_and_a_refusal_says_where(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(RemoteError) as refused:
        parse_offer(offer_bytes(**changes))
    assert refused.value.reason == "offer_malformed"
    assert str(refused.value).startswith(place)


# what keeps a signal in the car

LOW_SPEED = Kind(Category.DRIVING, Sensitivity.LOW)
POSITION = Kind(Category.LOCATION, Sensitivity.LOW)


def told(wanted: list[dict[str, Any]], catalogue: dict[str, Kind], optional: tuple[int, ...] = ()) -> dict[str, str]:
    """Path -> why it is not sent, where the driver gives no location."""
    offer = offer_bytes(items=wanted)
    grant = compile_grant(offer, token(offer, optional=optional), (), OWNER)
    blocks = explain([grant], catalogue, Mode.NO_LOCATION, Ceiling(), GIVEN_MS)
    return {block.path: block.reason.value for block in blocks}


def test_a_signal_waits_for_its_own_conditions_and_no_other_items() -> None:
    """The speed lacks the ignition, which the car has not; that the odometer lacks the position is not its affair."""
    wanted = [
        item(SPEED, when=[when(IGNITION, ">=", "2")]),
        item(ODOMETER, when=[when(LATITUDE, ">", "1")]),
        item(IGNITION, "condition"),
        item(LATITUDE, "condition"),
    ]
    found = told(wanted, {SPEED: LOW_SPEED, ODOMETER: LOW_SPEED, LATITUDE: POSITION})
    assert (found[SPEED], found[ODOMETER]) == ("vehicle", "driver")


def test_of_several_conditions_that_cannot_be_judged_the_first_reason_is_told() -> None:
    """In the order in which reasons are asked; a condition that could be judged is none."""
    every = [when(IGNITION, ">=", "2"), when(LATITUDE, ">", "1"), when(ODOMETER, ">", "1")]
    wanted = [item(SPEED, when=every), *(item(path, "condition") for path in (IGNITION, LATITUDE, ODOMETER))]
    assert told(wanted, {SPEED: LOW_SPEED, ODOMETER: LOW_SPEED, LATITUDE: POSITION})[SPEED] == "driver"


def test_what_the_owner_declined_is_told_apart_from_what_nobody_asked_for() -> None:
    """Also where the car does not have it: then by its path alone."""
    wanted = [item(SPEED), item(ODOMETER, "optional"), item("energy", "optional")]
    found = told(wanted, {LATITUDE: POSITION})
    assert found == {SPEED: "vehicle", ODOMETER: "owner", LATITUDE: "offer"}


# grant sets and keys


def test_a_set_that_holds_a_record_twice_is_refused_before_it_is_looked_into() -> None:
    assert refusal(grant_set, 1, documents(), documents()) == "grants_malformed"


@pytest.mark.parametrize(("listed_ms", "kept_ms"), [(1, GIVEN_MS + 30 * DAY_MS), (2**50, 2**50)])
def test_an_end_that_a_set_lists_counts_with_the_later_of_both_times(listed_ms: int, kept_ms: int) -> None:
    """Even where a record of the set cannot be read, so that a missing one would not have ended by itself."""
    first = compile_set(grant_set(1, documents()), OWNER, Floors())
    rubbish = Documents(b"{}", "rubbish")
    second = compile_set(grant_set(2, rubbish, ended=((RECORD_ID, listed_ms),)), OWNER, first.floors)
    assert (second.floors.heads, second.floors.ended) == ({}, {RECORD_ID: kept_ms})


def test_a_key_that_counts_already_is_not_counted_again() -> None:
    """Pinned, or added by another token: nothing that says nothing new is kept."""
    pinned = sign_addition(OWNER, OWNER_KEY.public, GIVEN_MS, OWNER_KEY.secret)
    twice = tuple(sign_addition(OWNER, SECOND_KEY.public, GIVEN_MS + n, OWNER_KEY.secret) for n in range(2))
    owner = OWNER.with_tokens((pinned, *twice))
    assert owner.keys == (OWNER_KEY.public, SECOND_KEY.public)
    assert owner.tokens == twice[:1]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"v": 0}, {"v": 2}, {"type": "owner"}, {"time_ms": -1}, {"time_ms": "now"}, {"epoch": 0}, {"vehicle": "X"}),
        {"key": {"crv": "Ed25519", "kty": "EC", "x": jws.base64url(SECOND_KEY.public)}},
    ],
)
def test_an_addition_of_a_key_in_another_form_adds_nothing(wrong: dict[str, Any]) -> None:
    document = {
        "v": 1, "type": "owner-key", "vehicle": OWNER.vehicle, "epoch": 1, "key": jws.jwk(SECOND_KEY.public),
        "time_ms": GIVEN_MS,
    }  # fmt: skip
    assert OWNER.with_tokens((jws.sign(jws.OWNER_KEY, document, OWNER_KEY.secret),)).added == (SECOND_KEY.public,)
    broken = jws.sign(jws.OWNER_KEY, {**document, **wrong}, OWNER_KEY.secret)
    assert refusal(OWNER.with_tokens, (broken,)) == "key_malformed"


def signed_record(**changes: Any) -> str:
    document = {"v": 1, "type": "record", **dataclasses.asdict(record()), **changes}
    return jws.sign(jws.RECORD, document, OWNER_KEY.secret)


def test_the_numbers_of_a_record_begin_where_the_document_says() -> None:
    """Zero is a time, the last item has the number 255."""
    found = parse_record(signed_record(given_ms=0, not_before_ms=0, expires_ms=0, items=[255]), OWNER.keys)
    assert (found.given_ms, found.not_before_ms, found.expires_ms, found.items) == (0, 0, 0, (255,))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"v": 0}, {"v": 2}, {"type": "event"}, {"items": [256]}, {"items": [-1]}, {"items": []}, {"epoch": 0}),
        *({"given_ms": -1}, {"not_before_ms": -1}, {"expires_ms": -1}, {"reference": "ü"}, {"language": "DE"}),
    ],
)
def test_a_record_of_another_form_is_refused(wrong: dict[str, Any]) -> None:
    assert refusal(parse_record, signed_record(**wrong), OWNER.keys) == "record_malformed"


@pytest.mark.parametrize(
    ("left_ms", "days_max", "words"),
    [
        (10 * DAY_MS, 90, "renew it for 11 to 90 days from now"),
        (10 * DAY_MS - 1, 90, "renew it for 10 to 90 days from now"),
        (89 * DAY_MS, 90, "renew it for 90 to 90 days from now"),
        (90 * DAY_MS, 90, "it lasts as long as the offer allows"),
    ],
)
def test_a_renewal_that_prolongs_nothing_says_which_would(left_ms: int, days_max: int, words: str) -> None:
    """A renewal ends so many whole days after now; the least of them is later than what there is."""
    given = signed_record()
    course = dataclasses.replace(begin(parse_record(given, OWNER.keys), given), expires_ms=GIVEN_MS + left_ms)
    with pytest.raises(ConsentError) as refused:
        _require_longer(course, GIVEN_MS, GIVEN_MS + left_ms, days_max)
    assert (refused.value.reason, str(refused.value).endswith(words)) == ("event_validity", True)
