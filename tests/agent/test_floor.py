"""The floor under the time: one word raises it by a day in a boot, two witnesses wholly, and nothing lowers it."""

from __future__ import annotations

import random

from carnet.times import DRIFT_MS_PER_MS
from carnet_agent.floor import JUMP_MS, Floor
from carnet_agent.moment import Moment

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS


def at(boot_ms: int, boot: int = 1) -> Moment:
    return Moment(boot_ms, boot.to_bytes(8, "big"), 0)


def heard(floor: Floor, time_ms: int, moment: Moment, *, witnessed: bool = False, yes_ms: int = 0) -> Floor:
    return floor.heard(time_ms, moment, witnessed=witnessed, yes_ms=yes_ms)


def known() -> Floor:
    return heard(Floor(), NOW_MS, at(0), witnessed=True)


def test_one_word_far_ahead_raises_it_by_a_day() -> None:
    floor = heard(known(), NOW_MS + 10 * YEAR_MS, at(0))
    assert (floor.firm_ms, floor.word_ms) == (NOW_MS + JUMP_MS, NOW_MS + 10 * YEAR_MS)


def test_a_thousand_words_of_one_boot_do_no_more() -> None:
    """What a boot may believe is spent once, however it is cut into pieces."""
    floor = known()
    for n in range(1000):
        floor = heard(floor, NOW_MS + n * DAY_MS, at(n))
    assert NOW_MS + JUMP_MS <= floor.firm_ms <= NOW_MS + JUMP_MS + 1000


def test_a_lie_in_every_boot_costs_a_day_each() -> None:
    floor = known()
    for boot in range(2, 12):
        floor = heard(floor, NOW_MS + 10 * YEAR_MS, at(1000, boot))
    assert floor.firm_ms - NOW_MS <= 10 * (JUMP_MS + 1000)


def test_two_witnesses_raise_it_wholly() -> None:
    floor = heard(known(), NOW_MS + YEAR_MS, at(0, 2), witnessed=True)
    assert floor.firm_ms == NOW_MS + YEAR_MS


def test_a_car_that_stood_for_months_catches_up_a_day_in_a_boot_and_its_word_at_once() -> None:
    floor = known()
    truth_ms = NOW_MS + 90 * DAY_MS
    for boot in range(2, 100):
        floor = heard(floor, truth_ms, at(0, boot))
        assert floor.word_ms == truth_ms
        assert floor.firm_ms == min(truth_ms, NOW_MS + (boot - 1) * JUMP_MS)


def test_powered_on_time_counts_without_any_word() -> None:
    """Over a restart of the agent in the same boot, and from the beginning of another boot."""
    floor = known()
    hour = 3_600_000
    assert floor.at(at(hour)).firm_ms == NOW_MS + hour - hour // DRIFT_MS_PER_MS
    assert floor.at(at(hour, 2)).firm_ms == NOW_MS + hour - hour // DRIFT_MS_PER_MS


def test_a_clock_that_stands_still_does_not_hold_it() -> None:
    floor = known()
    for n in range(1, 25):
        floor = heard(floor, NOW_MS, at(n * 3_600_000))
    assert floor.firm_ms == floor.word_ms
    assert NOW_MS + DAY_MS - DAY_MS // 1000 < floor.firm_ms <= NOW_MS + DAY_MS


def test_the_owners_newest_signature_is_believed_if_the_word_is_not_before_it() -> None:
    """The first word of a new unit is held to it, and an old car goes on from it."""
    assert heard(Floor(), NOW_MS + 10 * YEAR_MS, at(0), yes_ms=NOW_MS).firm_ms == NOW_MS + JUMP_MS
    assert heard(known(), NOW_MS + YEAR_MS, at(0), yes_ms=NOW_MS + YEAR_MS - 5).firm_ms == NOW_MS + YEAR_MS
    assert heard(known(), NOW_MS + 5, at(0), yes_ms=NOW_MS + YEAR_MS).firm_ms == NOW_MS + 5


def test_a_unit_that_knows_nothing_has_no_floor() -> None:
    """Nothing was granted yet, so there is nothing to end; and 1970 spends no jump."""
    floor = heard(Floor(), NOW_MS, at(0))
    assert (floor.firm_ms, floor.word_ms, floor.jump_ms) == (0, NOW_MS, JUMP_MS)
    assert Floor().at(at(5_000)).word_ms == 0


def test_it_never_falls_whatever_is_said() -> None:
    chance = random.Random(3)
    floor, boot, boot_ms = known(), 1, 0
    for _ in range(3000):
        if chance.random() < 0.05:
            boot, boot_ms = boot + 1, 0
        boot_ms += chance.randrange(0, 10_000_000)
        before = floor.firm_ms
        floor = heard(
            floor,
            NOW_MS + chance.randrange(-YEAR_MS, YEAR_MS),
            at(boot_ms, boot),
            witnessed=chance.random() < 0.01,
            yes_ms=NOW_MS + chance.randrange(-YEAR_MS, YEAR_MS),
        )
        assert before <= floor.firm_ms <= floor.word_ms
        assert 0 <= floor.jump_ms <= JUMP_MS
