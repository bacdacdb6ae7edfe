"""The unit's clock says an interval that the truth lies in, or that it does not know."""

from __future__ import annotations

from carnet_agent.clock import GNSS_MS, NTP_MS, Clock
from carnet_agent.floor import JUMP_MS, Floor
from carnet_agent.moment import Moment

NOW_MS = 1_800_000_000_000
BOOT, OTHER = b"bootboot", b"bootbooT"


def at(boot_ms: int, *, synchronised: bool = False, boot_id: bytes = BOOT, real_ms: int = NOW_MS) -> Moment:
    return Moment(boot_ms, boot_id, real_ms, synchronised)


def test_without_an_anchor_nothing_is_known() -> None:
    clock = Clock(Floor())
    clock.learn_system(at(1000))
    assert clock.interval(at(1000)) is None
    assert clock.wall(at(1000)) is None


def test_an_answer_bounds_the_time_by_its_round_trip() -> None:
    """The server read its clock somewhere between the question and the receipt."""
    clock = Clock(Floor())
    clock.learn_answer(1000, NOW_MS, at(1300))
    assert clock.interval(at(1300)) == (NOW_MS - 1, NOW_MS + 301)
    wall = clock.wall(at(1300))
    assert wall is not None
    middle, around = wall
    assert middle - around <= NOW_MS - 1
    assert middle + around >= NOW_MS + 301


def test_an_answer_to_a_question_of_another_time_says_nothing() -> None:
    clock = Clock(Floor())
    clock.learn_answer(2000, NOW_MS, at(1000))
    clock.learn_answer(0, NOW_MS, at(60_001))
    assert clock.interval(at(60_001)) is None


def test_the_interval_widens_by_500_ppm() -> None:
    clock = Clock(Floor())
    clock.learn_answer(1000, NOW_MS, at(1000))
    earliest, latest = clock.interval(at(1000 + 3_600_000)) or (0, 0)
    assert (NOW_MS + 3_600_000 - earliest, latest - NOW_MS - 3_600_000) == (1801, 1801)


def test_the_narrowest_source_is_kept_and_refreshed() -> None:
    clock = Clock(Floor())
    clock.learn_system(at(0, synchronised=True))
    assert clock.interval(at(0)) == (NOW_MS - NTP_MS - 1, NOW_MS + NTP_MS + 1)
    clock.learn_answer(0, NOW_MS, at(10, real_ms=NOW_MS + 10))
    assert clock.interval(at(10)) == (NOW_MS - 1, NOW_MS + 11)
    # after two hours the cloud's anchor has drifted wider than NTP's second
    clock.learn_system(at(7_200_000, synchronised=True, real_ms=NOW_MS + 7_200_000))
    earliest, latest = clock.interval(at(7_200_000)) or (0, 0)
    assert latest - earliest == 2 * NTP_MS + 2


def test_the_cloud_is_believed_where_sources_exclude_each_other() -> None:
    clock = Clock(Floor())
    clock.learn_answer(0, NOW_MS, at(10))
    clock.learn_system(at(20, synchronised=True, real_ms=NOW_MS + 3_600_000))
    clock.learn_gnss(NOW_MS - 3_600_000, at(20))
    assert clock.interval(at(20)) == (NOW_MS + 8, NOW_MS + 22)
    assert clock.refused == 2
    clock.learn_answer(30, NOW_MS + 60_000, at(30))
    assert clock.interval(at(30)) == (NOW_MS + 59_999, NOW_MS + 60_001)


def test_an_anchor_holds_for_its_boot_only() -> None:
    clock = Clock(Floor())
    clock.learn_gnss(NOW_MS, at(500))
    assert clock.interval(at(500)) == (NOW_MS - GNSS_MS - 1, NOW_MS + GNSS_MS + 1)
    assert clock.interval(at(500, boot_id=OTHER)) is None


def kept(firm_ms: int, word_ms: int = 0) -> Floor:
    """A floor that another boot has left behind."""
    return Floor(firm_ms, max(firm_ms, word_ms), OTHER)


def test_no_time_before_the_floor_is_believed() -> None:
    """An old battery or a spoofed receiver does not make an ended grant live again."""
    clock = Clock(kept(NOW_MS))
    clock.learn_gnss(NOW_MS - 3_600_000, at(0))
    assert clock.interval(at(0)) is None
    assert clock.refused == 1
    assert clock.earliest_ms(at(0)) == NOW_MS
    clock.learn_gnss(NOW_MS + 1000, at(0))
    assert clock.interval(at(0)) == (NOW_MS, NOW_MS + 1000 + GNSS_MS + 1)


def test_what_was_last_said_only_the_cloud_takes_back() -> None:
    """A thief who can fake satellites and time servers cannot sign for the cloud."""
    clock = Clock(kept(NOW_MS, NOW_MS + JUMP_MS))
    clock.learn_gnss(NOW_MS + 1000, at(0))
    clock.learn_system(at(0, synchronised=True, real_ms=NOW_MS + 1000))
    assert clock.interval(at(0)) is None
    assert clock.earliest_ms(at(0)) == NOW_MS + JUMP_MS
    clock.learn_answer(0, NOW_MS + 1000, at(0))
    assert clock.interval(at(0)) == (NOW_MS + 999, NOW_MS + 1001)


def test_the_cloud_goes_below_the_floor_only_to_place_captures() -> None:
    """It judges them itself. What ends grants stays at the floor, and goes on with powered-on time."""
    clock = Clock(kept(NOW_MS))
    for hour in range(5):
        boot_ms = hour * 3_600_000
        clock.learn_answer(boot_ms, NOW_MS - JUMP_MS, at(boot_ms))
        floor_ms = NOW_MS + boot_ms - boot_ms // 2000
        assert clock.interval(at(boot_ms)) == (floor_ms, floor_ms)
        assert clock.wall(at(boot_ms)) == (NOW_MS - JUMP_MS, 1)


def test_the_floor_follows_a_day_of_one_word_and_two_witnesses_wholly() -> None:
    clock = Clock(kept(NOW_MS))
    far_ms = NOW_MS + 90 * JUMP_MS
    clock.learn_answer(0, far_ms, at(0))
    clock.settle(at(0), 0)
    assert clock.floor.firm_ms == NOW_MS + JUMP_MS
    clock.learn_system(at(0, synchronised=True, real_ms=far_ms + 400))
    clock.settle(at(0), 0)
    assert clock.floor.firm_ms == far_ms - 1


def test_a_witness_of_another_boot_or_of_another_time_is_none() -> None:
    clock = Clock(kept(NOW_MS))
    far_ms = NOW_MS + 90 * JUMP_MS
    clock.learn_system(at(0, synchronised=True, real_ms=far_ms, boot_id=b"before.."))
    clock.learn_gnss(NOW_MS + 5000, at(0))
    clock.learn_answer(0, far_ms, at(0))
    clock.settle(at(0), 0)
    assert clock.floor.firm_ms == NOW_MS + JUMP_MS


def test_a_satellite_and_a_time_server_alone_are_no_two_witnesses() -> None:
    """Neither is signed, and the one often feeds the other."""
    clock = Clock(kept(NOW_MS))
    far_ms = NOW_MS + 90 * JUMP_MS
    clock.learn_gnss(far_ms, at(0))
    clock.learn_system(at(0, synchronised=True, real_ms=far_ms))
    clock.settle(at(0), 0)
    assert clock.floor.firm_ms == NOW_MS + JUMP_MS
