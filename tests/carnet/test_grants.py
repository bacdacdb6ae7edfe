"""Grants: what documents come to at every time, and the invariants of consent over arbitrary histories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carnet.consent import ACTORS, TRANSITIONS, Actor, EventKind, Grant, State, entry_hash, item_allows
from carnet.errors import LocalProtocolError, RemoteError
from carnet.grants import GrantItem, compile_grant
from carnet.signals import Category, DeliveryClass
from carnet.transforms import Transform
from tests.consentkit import (
    DAY_MS,
    GIVEN_MS,
    IGNITION,
    ODOMETER,
    OFFER,
    OWNER,
    SPEED,
    entries,
    event,
    token,
)

END_MS = GIVEN_MS + 30 * DAY_MS
WRITTEN = [kind for kind in EventKind if kind not in (EventKind.GIVE, EventKind.REFUSE, EventKind.EXPIRE)]
EACH_SECOND = Transform(interval_ms=1000, round="0.5")


def _grant(*kinds: str) -> Grant:
    first, *events = entries(*kinds)
    return compile_grant(OFFER, first, events, OWNER)


@pytest.mark.parametrize(
    "now_ms, state, allowed",
    [
        (GIVEN_MS - 1, State.GIVEN, False),
        (GIVEN_MS, State.GIVEN, True),
        (END_MS - 1, State.GIVEN, True),
        (END_MS, State.EXPIRED, False),
        (2**53 - 1, State.EXPIRED, False),
    ],
)
def test_a_grant_begins_and_ends_by_the_clock_alone(now_ms: int, state: State, allowed: bool) -> None:
    """The end itself is outside: expiry rounds down and needs no job."""
    grant = _grant()
    assert (grant.state_at(now_ms), grant.allows(now_ms)) == (state, allowed)


@pytest.mark.parametrize(
    "earliest_ms, latest_ms, covered",
    [
        (GIVEN_MS, GIVEN_MS, True),
        (GIVEN_MS - 1, GIVEN_MS, False),
        (END_MS - 1, END_MS - 1, True),
        (END_MS - 1, END_MS, False),
        (GIVEN_MS - 1, END_MS, False),
        (GIVEN_MS + 2, GIVEN_MS + 1, False),
    ],
)
def test_a_capture_is_covered_wherever_in_its_interval_it_lies(earliest_ms: int, latest_ms: int, covered: bool) -> None:
    """An interval that straddles a boundary, or is no interval, is not covered."""
    assert _grant().covers(earliest_ms, latest_ms) is covered


def test_an_end_stays_what_it_was() -> None:
    """What was withdrawn does not become expired."""
    assert _grant("withdraw", "silent").state_at(END_MS) is State.WITHDRAWN
    assert _grant("pause").state_at(END_MS) is State.EXPIRED


def test_what_waited_through_a_pause_is_never_covered() -> None:
    """After a resume only what is captured from then on; the clock of the pause decides nothing."""
    grant = _grant("pause", "resume")
    resumed_ms = GIVEN_MS + 2 * DAY_MS
    assert grant.allows(resumed_ms)
    assert grant.covers(resumed_ms, resumed_ms)
    assert not grant.covers(resumed_ms - 1, resumed_ms)
    assert not grant.covers(GIVEN_MS, GIVEN_MS)


def test_items_of_the_grant_are_those_of_the_offer_that_were_chosen() -> None:
    """The others are known as declined."""
    grant = _grant()
    assert [item.path for item in grant.items] == [ODOMETER, SPEED, IGNITION]
    assert [item.condition_only for item in grant.items] == [False, False, True]
    assert [item.category for item in grant.declined] == [Category.MAINTENANCE]


def test_a_column_needs_an_item_of_its_path_and_its_very_transform() -> None:
    """A condition and a declined category allow nothing."""
    grant = _grant()
    assert item_allows(grant, SPEED, Category.DRIVING, EACH_SECOND) == grant.items[1]
    assert item_allows(grant, SPEED, Category.DRIVING, Transform()) is None
    assert item_allows(grant, SPEED, Category.DRIVING, Transform(interval_ms=1000)) is None
    assert item_allows(grant, IGNITION, Category.DRIVING, Transform()) is None
    assert item_allows(grant, "Vehicle.OBD.MIL", Category.MAINTENANCE, Transform()) is None
    first = token(optional=(3,))
    assert (
        item_allows(compile_grant(OFFER, first, (), OWNER), "Vehicle.OBD.MIL", Category.MAINTENANCE, Transform())
        is not None
    )


def test_the_head_is_what_the_next_event_names() -> None:
    """So that owner's tools need nothing but the grant."""
    story = entries("pause")
    grant = compile_grant(OFFER, story[0], story[1:], OWNER)
    assert (grant.event_seq, grant.head_hash) == (1, entry_hash(story[1]))


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WRITTEN), max_size=8), st.integers(-DAY_MS, 120 * DAY_MS))
def test_only_given_forwards_whatever_happened(kinds: list[EventKind], after_ms: int) -> None:
    """Invariants 1, 5, 7 and 10: any history either is refused, or ends where the table says; nothing but GIVEN
    allows.
    """
    story, state, end_ms, compiled = [token()], State.GIVEN, END_MS, True
    for number, kind in enumerate(kinds, 1):
        renewal: dict[str, Any] = {"expires_ms": end_ms + DAY_MS} if kind is EventKind.RENEW else {}
        story.append(event(kind.value, story, GIVEN_MS + number, **renewal))
        compiled = compiled and (state, kind) in TRANSITIONS
        if compiled:
            state = TRANSITIONS[state, kind]
            end_ms += DAY_MS if kind is EventKind.RENEW else 0
    if not compiled:
        with pytest.raises(RemoteError) as refusal:
            compile_grant(OFFER, story[0], story[1:], OWNER)
        assert refusal.value.reason == "event_state"
        return
    grant = compile_grant(OFFER, story[0], story[1:], OWNER)
    now_ms = GIVEN_MS + after_ms
    assert grant.state is state
    assert grant.allows(now_ms) == (state is State.GIVEN and GIVEN_MS <= now_ms < end_ms)
    assert not grant.allows(now_ms) or grant.state_at(now_ms) is State.GIVEN


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([k for k in WRITTEN if ACTORS[k] is Actor.OPERATOR]), max_size=4), st.booleans(), st.data()
)
def test_nothing_without_a_signature_ever_widens(kinds: list[EventKind], paused: bool, data: st.DataObject) -> None:
    """Whatever the operator appends, no moment is allowed and no capture covered that was not before."""
    story = entries(*(["pause"] if paused else []))
    before = compile_grant(OFFER, story[0], story[1:], OWNER)
    for kind in kinds:
        story.append(event(kind.value, story, data.draw(st.integers(0, 2**53 - 1))))
        try:
            after = compile_grant(OFFER, story[0], story[1:], OWNER)
        except RemoteError:
            return
        for now_ms in (GIVEN_MS - 1, GIVEN_MS, GIVEN_MS + DAY_MS, END_MS - 1, END_MS, END_MS + DAY_MS):
            assert before.allows(now_ms) or not after.allows(now_ms)
            assert before.covers(now_ms, now_ms) or not after.covers(now_ms, now_ms)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.integers(0, 2**53 - 1), st.integers(0, 400 * DAY_MS), st.integers(1, DAY_MS))
def test_a_coarser_clock_never_gives_more_time(now_ms: int, length_ms: int, unit_ms: int) -> None:
    """Invariant 10: asked for the latest moment of its unit, a grant is over no later than its end."""
    end_ms = GIVEN_MS + 1 + length_ms % (365 * DAY_MS)
    grant = compile_grant(OFFER, token(expires_ms=end_ms), (), OWNER)
    latest_ms = now_ms - now_ms % unit_ms + unit_ms - 1
    assert not grant.allows(latest_ms) or now_ms < end_ms


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(GIVEN_MS - DAY_MS, END_MS + DAY_MS), st.integers(0, 2 * DAY_MS))
def test_capture_and_now_both_lie_inside(earliest_ms: int, width_ms: int) -> None:
    """Invariant 3: every millisecond of a covered interval lies inside the grant."""
    grant = _grant()
    latest_ms = earliest_ms + width_ms
    if grant.covers(earliest_ms, latest_ms):
        assert all(GIVEN_MS <= ms < END_MS for ms in (earliest_ms, (earliest_ms + latest_ms) // 2, latest_ms))
    else:
        assert earliest_ms < GIVEN_MS or latest_ms >= END_MS


def test_only_the_owner_leads_to_given_and_no_end_leads_anywhere() -> None:
    """The table itself keeps the laws."""
    for (state, kind), after in TRANSITIONS.items():
        assert not state.endswith("ed") or state in (State.REQUESTED, State.SUSPENDED)
        if after is State.GIVEN:
            assert ACTORS[kind] is Actor.OWNER
        if ACTORS[kind] is not Actor.OWNER:
            assert after is not State.GIVEN


def test_nobody_writes_another_ones_events() -> None:
    """Asked to, the writer refuses: a bug of ours."""
    with pytest.raises(LocalProtocolError):
        event("expire", entries())


def test_a_category_means_no_signal_without_a_path_in_the_specification() -> None:
    """The cloud's catalogue does not know it and refuses it: the car must not collect what nobody may have."""
    item = GrantItem(None, Category.ENERGY, False, Transform(), DeliveryClass.BACKGROUND, ())
    assert item.matches("Vehicle.Powertrain.TractionBattery.Range", Category.ENERGY)
    assert not item.matches("Vehicle.Private.can0.carnet_demo.BatteryDetail.Module0Voltage", Category.ENERGY)
