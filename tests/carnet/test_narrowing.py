"""Narrowing: the narrowest of offer, choice, driver and ceiling wins, and whatever is blocked has one true reason."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carnet.consent import BlockReason, Ceiling, Grant, Kind, Mode, explain, narrow
from carnet.grants import compile_grant
from carnet.signals import Category, Sensitivity
from tests.consentkit import (
    DAY_MS,
    GIVEN_MS,
    IGNITION,
    LATITUDE,
    LONGITUDE,
    ODOMETER,
    OFFER,
    OWNER,
    SPEED,
    entries,
    item,
    offer_bytes,
)

MIL, VIN, DOOR, SECRET = (
    "Vehicle.OBD.MIL",
    "Vehicle.VehicleIdentification.VIN",
    "Vehicle.Cabin.Door",
    "Vehicle.Private.b.d.m.s",
)
CATALOGUE = {
    SPEED: Kind(Category.DRIVING, Sensitivity.PERSONAL),
    ODOMETER: Kind(Category.MAINTENANCE, Sensitivity.LOW),
    IGNITION: Kind(Category.DRIVING, Sensitivity.LOW),
    MIL: Kind(Category.MAINTENANCE, Sensitivity.LOW),
    LATITUDE: Kind(Category.LOCATION, Sensitivity.SPECIAL),
    LONGITUDE: Kind(Category.LOCATION, Sensitivity.SPECIAL),
    VIN: Kind(Category.IDENTITY, Sensitivity.SPECIAL),
    SECRET: Kind(Category.UNMAPPED, Sensitivity.LOW),
}
NOW_MS = GIVEN_MS + DAY_MS
OPEN = Ceiling()


def _grant(*kinds: str, offer: bytes = OFFER, optional: tuple[int, ...] = (1,)) -> Grant:
    first, *events = entries(*kinds, offer=offer, optional=optional)
    return compile_grant(offer, first, events, OWNER)


def _wanted(grant: Grant, mode: Mode = Mode.NORMAL, ceiling: Ceiling = OPEN, now_ms: int | None = NOW_MS) -> list[str]:
    return [one.path for one in narrow([grant], CATALOGUE, mode, ceiling, now_ms)]


def _blocks(
    grant: Grant, mode: Mode = Mode.NORMAL, ceiling: Ceiling = OPEN, now_ms: int | None = NOW_MS
) -> dict[str, str]:
    return {one.path: one.reason.value for one in explain([grant], CATALOGUE, mode, ceiling, now_ms)}


EVERYTHING = _grant(
    offer=offer_bytes(
        items=[item(path) for path in (SPEED, ODOMETER, IGNITION, MIL, LATITUDE, LONGITUDE, VIN, SECRET)]
    ),
    optional=(),
)


def test_what_was_chosen_is_wanted_and_the_rest_says_why() -> None:
    """Condition signals come last and are only looked at."""
    wanted = narrow([_grant()], CATALOGUE, Mode.NORMAL, OPEN, NOW_MS)
    assert [(one.path, one.item.condition_only) for one in wanted] == [
        (ODOMETER, False),
        (SPEED, False),
        (IGNITION, True),
    ]
    assert _blocks(_grant()) == dict.fromkeys((IGNITION, LATITUDE, LONGITUDE, VIN, SECRET), "offer") | {MIL: "owner"}


def test_a_category_is_every_signal_that_the_catalogue_counts_to_it() -> None:
    """And an item with a path of its own stays beside it."""
    assert _wanted(_grant(optional=(3,))) == [ODOMETER, MIL, ODOMETER]


def test_a_condition_that_nobody_needs_any_more_is_not_looked_at() -> None:
    """Speed is too private for this car, so its condition is nobody's."""
    assert _wanted(_grant(), ceiling=Ceiling(sensitivity=Sensitivity.LOW)) == [ODOMETER]


def test_an_item_whose_condition_is_blocked_is_blocked_with_it() -> None:
    """What cannot be judged does not hold."""
    catalogue = CATALOGUE | {IGNITION: Kind(Category.COMFORT, Sensitivity.LOW)}
    ceiling = Ceiling(categories=frozenset(Category) - {Category.COMFORT})
    assert [one.path for one in narrow([_grant()], catalogue, Mode.NORMAL, ceiling, NOW_MS)] == [ODOMETER]
    assert {one.path: one.reason for one in explain([_grant()], catalogue, Mode.NORMAL, ceiling, NOW_MS)}[
        SPEED
    ] == "ceiling"
    del catalogue[IGNITION]
    assert {one.path: one.reason for one in explain([_grant()], catalogue, Mode.NORMAL, ceiling, NOW_MS)}[
        SPEED
    ] == "vehicle"


@pytest.mark.parametrize(
    "mode, paths",
    [
        (Mode.NORMAL, [SPEED, ODOMETER, IGNITION, MIL, LATITUDE, LONGITUDE, VIN, SECRET]),
        (Mode.NO_LOCATION, [SPEED, ODOMETER, IGNITION, MIL, VIN, SECRET]),
        (Mode.GUEST, [ODOMETER, IGNITION, MIL]),
        (Mode.OFF, []),
    ],
)
def test_the_driver_takes_away(mode: Mode, paths: list[str]) -> None:
    """With everything granted, what each mode leaves."""
    assert _wanted(EVERYTHING, mode) == paths
    assert set(_blocks(EVERYTHING, mode).values()) <= {"driver"}


def test_a_condition_is_looked_at_as_it_comes() -> None:
    """Only what leaves the car is thinned by the ceiling."""
    slow = Ceiling(interval_ms_min={Category.DRIVING: 5000})
    wanted = narrow([_grant()], CATALOGUE, Mode.NORMAL, slow, NOW_MS)
    assert [(one.path, one.interval_ms_min) for one in wanted] == [(ODOMETER, 0), (SPEED, 5000), (IGNITION, 0)]


def test_the_ceiling_takes_away_categories_and_sensitivities_and_thins() -> None:
    """It is set in the car; the transform stays the grant's."""
    low = Ceiling(sensitivity=Sensitivity.PERSONAL, interval_ms_min={Category.MAINTENANCE: 5000})
    assert _wanted(EVERYTHING, ceiling=low) == [SPEED, ODOMETER, IGNITION, MIL, SECRET]
    assert {one.path: one.interval_ms_min for one in narrow([EVERYTHING], CATALOGUE, Mode.NORMAL, low, NOW_MS)} == {
        SPEED: 0, ODOMETER: 5000, IGNITION: 0, MIL: 5000, SECRET: 0,
    }  # fmt: skip
    assert _wanted(EVERYTHING, ceiling=Ceiling(categories=frozenset())) == []


def test_of_two_ceilings_the_lower_counts_in_everything() -> None:
    """Whoever is at the car lowers what is configured and never raises it."""
    driving, location, maintenance = Category.DRIVING, Category.LOCATION, Category.MAINTENANCE
    one = Ceiling(frozenset({driving, location}), Sensitivity.PERSONAL, {driving: 1000, location: 500})
    other = Ceiling(frozenset({driving, maintenance}), Sensitivity.LOW, {driving: 200, maintenance: 60_000})
    both = Ceiling(frozenset({driving}), Sensitivity.LOW, {driving: 1000, location: 500, maintenance: 60_000})
    assert one.under(other) == other.under(one) == both


@pytest.mark.parametrize(
    "kinds, reason",
    [
        (("pause",), "owner"),
        (("suspend",), "operator"),
        (("suspend", "renew"), "operator"),
        (("suspend", "withdraw"), "owner"),
        (("withdraw", "silent"), "owner"),
        (("revoke", "silent"), "operator"),
        (("invalidate",), "tenure"),
        (("terminate",), "recipient"),
    ],
)
def test_a_silenced_grant_says_who_silenced_it(kinds: tuple[str, ...], reason: str) -> None:
    """What was never asked for keeps its own reason."""
    grant = _grant(*kinds)
    assert _wanted(grant, now_ms=NOW_MS + 5 * DAY_MS) == []
    assert (_blocks(grant)[SPEED], _blocks(grant)[VIN]) == (reason, "offer")


def test_time_silences_only_where_it_is_known() -> None:
    """Without any idea of the time the events decide, and the caller has a bound of its own."""
    grant = _grant()
    end_ms = grant.expires_ms
    assert _wanted(grant, now_ms=end_ms) == _wanted(grant, now_ms=GIVEN_MS - 1) == []
    assert _blocks(grant, now_ms=end_ms)[SPEED] == "time"
    assert _wanted(grant, now_ms=None) == [ODOMETER, SPEED, IGNITION]
    assert _wanted(_grant("pause"), now_ms=None) == []


def test_a_granted_path_that_the_car_has_not_is_told() -> None:
    """Nobody waits for what cannot come."""
    grant = _grant(offer=offer_bytes(items=[item(ODOMETER), item(DOOR)]), optional=())
    assert _blocks(grant)[DOOR] == "vehicle"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.sets(st.sampled_from([1, 3])),
    st.sampled_from([(), ("pause",), ("pause", "resume"), ("withdraw",)]),
    st.sampled_from(list(Mode)),
    st.builds(Ceiling, st.frozensets(st.sampled_from(list(Category))), st.sampled_from(list(Sensitivity))),
    st.integers(-1, 31),
)
def test_the_narrowest_wins_and_every_signal_has_one_answer(
    optional: set[int],
    kinds: tuple[str, ...],
    mode: Mode,
    ceiling: Ceiling,
    day: int,
) -> None:
    """Invariant 5: each further limit only takes away; what is sent and what is blocked are the whole, without
    overlap.
    """
    grant = _grant(*kinds, optional=tuple(sorted(optional)))
    now_ms = GIVEN_MS + day * DAY_MS
    wanted = narrow([grant], CATALOGUE, mode, ceiling, now_ms)
    sent = {one.path for one in wanted if not one.item.condition_only}
    blocked = [one.path for one in explain([grant], CATALOGUE, mode, ceiling, now_ms)]
    assert sorted([*sent, *blocked]) == sorted(CATALOGUE)
    assert not wanted or grant.allows(now_ms)
    for wider in (
        narrow([grant], CATALOGUE, Mode.NORMAL, ceiling, now_ms),
        narrow([grant], CATALOGUE, mode, OPEN, now_ms),
        narrow([_grant(optional=(1, 3))], CATALOGUE, mode, ceiling, NOW_MS),
    ):
        assert {one.path for one in wanted} <= {one.path for one in wider}
    assert all(CATALOGUE[one.path].category in ceiling.categories for one in wanted)


def test_reasons_come_in_their_order() -> None:
    """The first that holds is told: not asked, not chosen, silenced, driver, ceiling."""
    nothing = Ceiling(categories=frozenset())
    limits = [(), ("pause",)], [Mode.NORMAL, Mode.OFF], [OPEN, nothing]
    told = [_blocks(_grant(*kinds), mode, ceiling).get(SPEED) for kinds, mode, ceiling in itertools.product(*limits)]
    assert told == [None, "ceiling", "driver", "driver", "owner", "owner", "owner", "owner"]
    assert list(BlockReason)[:2] == [BlockReason.OFFER, BlockReason.OWNER]


def test_a_grant_that_cannot_say_why_it_is_silent_is_silent_all_the_same() -> None:
    """Made by hand, by mistake: deny."""
    assert _wanted(replace(_grant("pause"), narrowed_by=None)) == []
