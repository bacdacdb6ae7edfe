"""The gate: every way to be denied, and the one way to pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from carnet.consent import compile as compile_grant
from carnet.grants import Grant
from carnet.keys import key_id
from carnet.narrowing import SILENCED_BY
from carnet.signals import Category, Sensitivity
from carnet.states import EventKind, State
from carnet.transforms import Transform
from carnet_cloud import gate
from carnet_cloud.catalogue import Entry
from carnet_cloud.gate import Blocked, Sender, Standing
from tests import consentkit as kit
from tests.cloud.kit import SPEED, column

NOW_MS = kit.GIVEN_MS + kit.DAY_MS
END_MS = kit.GIVEN_MS + 30 * kit.DAY_MS
SENDER = Sender(kit.TENANT, kit.VEHICLE, 1)
ENTRY = Entry(kit.SPEED, "km/h", Category.DRIVING, Sensitivity.PERSONAL)


@pytest.fixture
def grant() -> Grant:
    return compile_grant(kit.OFFER, kit.token(), (), kit.OWNER)


def standing(grant: Grant, *, silent: bool = False, reachable: bool = True) -> Standing:
    return Standing(grant, silent, reachable)


def test_a_given_record_may_take_and_send(grant: Grant) -> None:
    """The one way to pass."""
    assert gate.may_take(standing(grant), SENDER, 1, NOW_MS) is None
    assert gate.may_send(standing(grant), NOW_MS) is None
    assert gate.may_hold(grant, column(kit.SPEED, SPEED, "km/h"), ENTRY) is None


def test_an_unknown_record_is_denied() -> None:
    """Nobody's by default."""
    assert gate.may_take(None, SENDER, 1, NOW_MS) is Blocked.OWNER
    assert gate.may_send(None, NOW_MS) is Blocked.OWNER


@pytest.mark.parametrize(
    ("sender", "epoch", "reason"),
    [
        (SENDER, 2, Blocked.TENURE),
        (replace(SENDER, epoch=2), 1, Blocked.TENURE),
        (replace(SENDER, epoch=2), 2, Blocked.TENURE),
        (replace(SENDER, vehicle=kit.OTHER_VEHICLE), 1, Blocked.TENURE),
        (replace(SENDER, tenant="ten_aaaaaaaaaaaaaaaa"), 1, Blocked.TENANT),
    ],
)
def test_nothing_crosses_epoch_vehicle_or_tenant(grant: Grant, sender: Sender, epoch: int, reason: Blocked) -> None:
    """Whatever else is right."""
    assert gate.may_take(standing(grant), sender, epoch, NOW_MS) is reason


@pytest.mark.parametrize("state", [s for s in State if s is not State.GIVEN])
def test_only_given_sends(grant: Grant, state: State) -> None:
    """Whoever ended it."""
    for who in (None, *SILENCED_BY):
        assert gate.may_send(standing(replace(grant, state=state, narrowed_by=who)), NOW_MS) is not None


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (("pause",), Blocked.OWNER),
        (("withdraw", "silent"), Blocked.OWNER),
        (("suspend",), Blocked.OPERATOR),
        (("revoke", "silent"), Blocked.OPERATOR),
        (("invalidate",), Blocked.TENURE),
        (("terminate",), Blocked.RECIPIENT),
    ],
)
def test_a_silenced_record_says_who_silenced_it(events: tuple[str, ...], reason: Blocked) -> None:
    """With the words of the car's gate."""
    token, *entries = kit.entries(*events, step_ms=1000)
    grant = compile_grant(kit.OFFER, token, entries, kit.OWNER)
    assert gate.may_send(standing(grant), NOW_MS) is reason


def test_a_grant_begins_and_ends_on_the_millisecond(grant: Grant) -> None:
    """From ``not_before`` on, and no longer at ``expires``: expiry rounds down and needs no job."""
    assert gate.may_send(standing(grant), kit.GIVEN_MS) is None
    assert gate.may_send(standing(grant), kit.GIVEN_MS - 1) is Blocked.TIME
    assert gate.may_send(standing(grant), END_MS - 1) is None
    assert gate.may_send(standing(grant), END_MS) is Blocked.EXPIRED


def test_a_record_waits_for_its_owner_after_a_restored_store(grant: Grant) -> None:
    """Given is not enough while nobody has confirmed it."""
    assert gate.may_send(standing(grant, silent=True), NOW_MS) is Blocked.UNCONFIRMED


def test_what_may_not_be_sent_is_not_taken_either(grant: Grant) -> None:
    """A box for a record that is over, silent or out of reach feeds nothing, with the same answer to why."""
    for one, now_ms in (
        (standing(grant), END_MS),
        (standing(grant), kit.GIVEN_MS - 1),
        (standing(grant, silent=True), NOW_MS),
        (standing(grant, reachable=False), NOW_MS),
    ):
        reason = gate.may_send(one, now_ms)
        assert reason is not None
        assert gate.may_take(one, SENDER, 1, now_ms) is reason


def test_a_recipient_that_nobody_configured_gets_nothing(grant: Grant) -> None:
    """Not even into the outbox."""
    assert gate.may_send(standing(grant, reachable=False), NOW_MS) is Blocked.RECIPIENT


@pytest.mark.parametrize(
    ("path", "transform", "unit", "entry", "reason"),
    [
        (kit.SPEED, SPEED, "km/h", None, Blocked.SCHEMA),
        (kit.SPEED, SPEED, "mph", ENTRY, Blocked.SCHEMA),
        (kit.SPEED, Transform(interval_ms=999, round="0.5"), "km/h", ENTRY, Blocked.OFFER),
        (kit.SPEED, Transform(interval_ms=1000), "km/h", ENTRY, Blocked.OFFER),
        (
            kit.LATITUDE,
            SPEED,
            "degrees",
            Entry(kit.LATITUDE, "degrees", Category.LOCATION, Sensitivity.SPECIAL),
            Blocked.OFFER,
        ),
        (kit.IGNITION, Transform(), "", Entry(kit.IGNITION, "", Category.DRIVING, Sensitivity.LOW), Blocked.OFFER),
    ],
)
def test_a_column_is_the_grants_or_it_does_not_pass(
    grant: Grant, path: str, transform: Transform, unit: str, entry: Entry | None, reason: Blocked
) -> None:
    """Unknown path, other unit, finer transform, another path, and a condition that is only looked at."""
    assert gate.may_hold(grant, column(path, transform, unit), entry) is reason


def test_a_capture_interval_lies_inside_as_a_whole(grant: Grant) -> None:
    """One millisecond outside at either end is outside."""
    begins = np.array([kit.GIVEN_MS, kit.GIVEN_MS - 1, END_MS - 5, END_MS - 5, NOW_MS + 1])
    ends = np.array([kit.GIVEN_MS + 5, kit.GIVEN_MS + 5, END_MS - 1, END_MS, NOW_MS])
    assert gate.captured_inside(grant, begins, ends).tolist() == [True, False, True, False, False]


def test_a_capture_whose_time_is_certain_is_an_interval_too(grant: Grant) -> None:
    """Its earliest and latest are the same millisecond: inside at the first and the last of the grant."""
    times = np.array([kit.GIVEN_MS - 1, kit.GIVEN_MS, END_MS - 1, END_MS])
    assert gate.captured_inside(grant, times, times).tolist() == [False, True, True, False]


def test_each_answer_to_why_has_the_word_that_documents_and_counters_use() -> None:
    """`carnet-cloud why` and metrics show it: it may not change with a name of ours."""
    assert [each.value for each in Blocked] == [
        *("tenure", "tenant", "recipient", "owner", "operator"),
        *("unconfirmed", "log", "expired", "schema", "offer", "seal", "time"),
    ]


@pytest.mark.parametrize("first_ms", [kit.GIVEN_MS - 1, kit.GIVEN_MS, END_MS - 1, END_MS])
@pytest.mark.parametrize("last_ms", [kit.GIVEN_MS - 1, kit.GIVEN_MS, END_MS - 1, END_MS])
def test_a_grant_covers_a_span_as_it_covers_a_capture_that_fills_it(grant: Grant, first_ms: int, last_ms: int) -> None:
    (inside,) = gate.captured_inside(grant, np.array([first_ms]), np.array([last_ms])).tolist()
    assert grant.covers(first_ms, last_ms) is inside


def test_only_what_lies_across_an_end_is_unsure(grant: Grant) -> None:
    """What is wholly inside or wholly outside no better clock can change."""
    earliest = np.array([kit.GIVEN_MS - 9, kit.GIVEN_MS - 9, kit.GIVEN_MS, END_MS - 1, END_MS])
    latest = np.array([kit.GIVEN_MS - 1, kit.GIVEN_MS, kit.GIVEN_MS + 9, END_MS, END_MS + 9])
    moments = earliest, latest
    assert gate.unsure(grant, moments, moments).tolist() == [False, True, False, True, False]


def test_what_must_have_begun_before_or_ended_after_is_not_unsure(grant: Grant) -> None:
    """A window of 100 ms, by a clock that is right to 9 ms: only one that may lie inside as a whole is."""
    begins = np.array([kit.GIVEN_MS - 10, kit.GIVEN_MS - 9, END_MS - 109, END_MS - 100])
    ends = begins + 100
    assert gate.unsure(grant, (begins, begins + 9), (ends, ends + 9)).tolist() == [False, True, True, False]


# what waits for its place in the log


def withdrawn(grant: Grant) -> Grant:
    return replace(grant, state=State.WITHDRAWN, narrowed_by=EventKind.WITHDRAW)


def test_a_record_that_the_log_has_not_yet_is_said_to_wait_for_it(grant: Grant) -> None:
    """Nothing of it is in force."""
    assert gate.may_send(replace(standing(grant), coming=grant), NOW_MS) is Blocked.LOG


def test_what_is_in_force_goes_on_while_what_widens_waits(grant: Grant) -> None:
    """A renewal that the log has not yet takes nothing away."""
    renewed = replace(grant, expires_ms=grant.expires_ms + kit.DAY_MS)
    assert gate.may_send(replace(standing(grant), coming=renewed), NOW_MS) is None


def test_what_is_silent_and_widens_waits_for_the_log(grant: Grant) -> None:
    """Withdrawn in force, given in what waits: only the log is lacking."""
    assert gate.may_send(replace(standing(withdrawn(grant)), coming=grant), NOW_MS) is Blocked.LOG


@pytest.mark.parametrize("in_force", [True, False])
def test_what_would_be_refused_with_its_place_too_says_why(grant: Grant, in_force: bool) -> None:
    """The log is not what it lacks."""
    ended = withdrawn(grant)
    coming = replace(ended, expires_ms=ended.expires_ms + 1) if in_force else ended
    assert gate.may_send(replace(standing(ended), coming=coming), NOW_MS) is Blocked.OWNER


def test_nothing_that_waits_for_the_log_gets_past_a_silence(grant: Grant) -> None:
    """A restored store, a recipient that is not there: the same word with what waits and without."""
    renewed = replace(grant, expires_ms=grant.expires_ms + kit.DAY_MS)
    assert gate.may_send(replace(standing(grant, silent=True), coming=renewed), NOW_MS) is Blocked.UNCONFIRMED
    assert gate.may_send(replace(standing(grant, reachable=False), coming=renewed), NOW_MS) is Blocked.RECIPIENT


def test_the_latest_is_what_all_entries_come_to(grant: Grant) -> None:
    renewed = replace(grant, expires_ms=grant.expires_ms + kit.DAY_MS)
    assert standing(grant).latest is grant
    assert replace(standing(grant), coming=renewed).latest is renewed


def test_a_record_without_a_place_names_none(grant: Grant) -> None:
    """0 is the log's own leaf, so it names no consent."""
    assert standing(grant).position == 0


# who can open it


def test_a_box_is_opened_by_whom_the_owner_agreed_to_and_by_nobody_else(grant: Grant) -> None:
    """The cloud's box under an offer that names a key, a recipient's under one that names none, and another key."""
    own, other = b"k" * 32, b"o" * 32
    sealed = replace(grant, sealed_to=own)
    assert gate.may_open(grant, None) is None
    assert gate.may_open(grant, key_id(own)) is Blocked.SEAL
    assert gate.may_open(sealed, key_id(own)) is None
    assert gate.may_open(sealed, key_id(other)) is Blocked.SEAL
    assert gate.may_open(sealed, None) is Blocked.SEAL
