"""Who tells the car what time it is could end its grants for ever, or keep one alive: neither works.

The cloud signs its answers, so these are attacks of a cloud that lies or whose clock is wrong. A thief who holds the
car has less, since he cannot sign.
"""

from __future__ import annotations

import pytest

from carnet.grantsets import ENDED_KEPT_MS
from carnet_agent.core import FLOOR_MS
from carnet_agent.floor import JUMP_MS
from tests import consentkit as kit
from tests.agent.agentkit import START_MS, Rig, answer, grants, record

NOW_MS = kit.GIVEN_MS + kit.DAY_MS
END_MS = kit.GIVEN_MS + 30 * kit.DAY_MS
YEAR_MS = 365 * kit.DAY_MS
HOUR_MS = 3_600_000
NOTHING = {"can0": ()}


@pytest.fixture
def rig() -> Rig:
    """A unit with one grant, at a time that it has heard from the cloud."""
    made = Rig(NOW_MS)
    made.start()
    said(made, made.wall_ms)
    made.grant(grants())
    tick(made)
    return made


def said(rig: Rig, server_ms: int) -> None:
    """The cloud answers a check-in with this time."""
    rig.take()
    rig.connect(False)
    rig.connect()
    check_in = rig.take()[0]
    rig.hear(answer(check_in, server_ms=server_ms))
    tick(rig)


def tick(rig: Rig, ms: int = 1000) -> None:
    rig.pass_time(ms, step_ms=ms, frames=False)


def parked(rig: Rig, ms: int) -> None:
    """The power is off for so long, and then on again for as long as the rig's boots have lasted when a test begins."""
    rig._wall_ms += ms + START_MS
    rig.reboot()


def used_daily(rig: Rig, until_ms: int) -> None:
    """The car is driven every day, and hears the truth."""
    while rig.wall_ms + kit.DAY_MS < until_ms:
        parked(rig, 20 * HOUR_MS)
        said(rig, rig.wall_ms)
    parked(rig, until_ms - rig.wall_ms - START_MS)
    said(rig, rig.wall_ms)


def is_collecting(rig: Rig) -> bool:
    return rig.identifiers != NOTHING


def test_one_answer_far_ahead_ends_a_grant_only_until_the_next_true_one(rig: Rig) -> None:
    said(rig, rig.wall_ms + 10 * YEAR_MS)
    assert not is_collecting(rig)
    said(rig, rig.wall_ms)
    assert is_collecting(rig)
    parked(rig, 0)
    said(rig, rig.wall_ms)
    assert is_collecting(rig)


def test_one_answer_far_ahead_before_the_power_goes_is_mended_by_the_next_contact(rig: Rig) -> None:
    """Until then the unit believes what it heard last: what is not known is denied."""
    said(rig, rig.wall_ms + 10 * YEAR_MS)
    parked(rig, 0)
    assert not is_collecting(rig)
    said(rig, rig.wall_ms)
    assert is_collecting(rig)


def test_a_cloud_that_lies_in_every_boot_gains_a_day_with_each(rig: Rig) -> None:
    """Twenty starts are twenty days: a grant with 29 days to run goes on, and ends by as much too early."""
    for _ in range(20):
        parked(rig, 0)
        said(rig, rig.wall_ms + 10 * YEAR_MS)
    parked(rig, 0)
    said(rig, rig.wall_ms)
    assert is_collecting(rig)
    ahead_ms = rig.agent._clock.floor.at(rig.moment()).firm_ms - rig.wall_ms
    assert 19 * JUMP_MS < ahead_ms < 20 * JUMP_MS + HOUR_MS


def test_the_first_word_that_a_new_unit_hears_ends_nothing_for_ever_either() -> None:
    rig = Rig(NOW_MS)
    rig.start()
    said(rig, rig.wall_ms + 10 * YEAR_MS)
    rig.grant(grants())
    tick(rig)
    assert not is_collecting(rig)
    said(rig, rig.wall_ms)
    assert is_collecting(rig)


@pytest.mark.parametrize("restarts", [0, 7])
def test_a_cloud_whose_clock_stands_still_prolongs_nothing(rig: Rig, restarts: int) -> None:
    """Powered-on time counts, over starts of the agent and of the machine, whatever it says."""
    used_daily(rig, END_MS - 16 * HOUR_MS)
    frozen_ms = rig.wall_ms
    for _ in range(restarts):
        for _ in range(3):
            tick(rig, FLOOR_MS + 1000)
        parked(rig, 0)
        said(rig, frozen_ms)
    assert is_collecting(rig)
    for _ in range((END_MS - rig.wall_ms) // FLOOR_MS + 1):
        tick(rig, FLOOR_MS + 1000)
        said(rig, frozen_ms)
    assert not is_collecting(rig)
    parked(rig, 0)
    said(rig, frozen_ms)
    assert not is_collecting(rig)


def test_a_cloud_that_goes_back_brings_no_ended_grant_to_life(rig: Rig) -> None:
    """In the same run and after a start, by what was heard on an ordinary day."""
    used_daily(rig, END_MS - HOUR_MS)
    assert is_collecting(rig)
    for _ in range(12):
        tick(rig, FLOOR_MS)
    assert not is_collecting(rig)
    said(rig, NOW_MS)
    assert not is_collecting(rig)
    parked(rig, 0)
    said(rig, NOW_MS)
    assert not is_collecting(rig)


def test_a_unit_that_stood_for_months_goes_on_with_a_true_answer(rig: Rig) -> None:
    parked(rig, 20 * kit.DAY_MS)
    said(rig, rig.wall_ms)
    assert is_collecting(rig)


def test_a_grant_that_ended_while_the_unit_stood_stays_ended_without_contact(rig: Rig) -> None:
    """Once told, it is not forgotten at the next start, however far the floor lies behind."""
    parked(rig, 90 * kit.DAY_MS)
    assert is_collecting(rig), "nobody has told it yet"
    said(rig, rig.wall_ms)
    assert not is_collecting(rig)
    parked(rig, 0)
    tick(rig)
    assert not is_collecting(rig)


def test_a_word_far_ahead_makes_the_unit_forget_no_withdrawal(rig: Rig) -> None:
    """Ended ids are dropped once nothing can bring them back; the cloud's word alone is no proof of that."""
    rig.grant(grants(2, "withdraw"))
    said(rig, END_MS + ENDED_KEPT_MS + YEAR_MS)
    tick(rig, 61_000)
    said(rig, rig.wall_ms)
    rig.grant(kit.grant_set(3, record()))
    tick(rig)
    assert not is_collecting(rig)


def test_a_new_owner_does_not_inherit_the_floor(rig: Rig) -> None:
    """Pairing anew begins anew, at the first start."""
    for _ in range(40):
        parked(rig, 0)
        said(rig, rig.wall_ms + 10 * YEAR_MS)
    rig.consent_db.execute("update meta set value = ? where name = 'tenure'", (b"another/1",))
    rig.start()
    said(rig, rig.wall_ms)
    rig.grant(grants())
    tick(rig)
    assert is_collecting(rig)
