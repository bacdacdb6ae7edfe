"""Whatever message between car and cloud is lost, readings arrive within a time that is written here.

Each kind is lost once and several times in a row, at the first contact and after a silence in which the cloud has given
up repeating.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet_agent.clock import ROUND_TRIP_MS_MAX
from carnet_agent.effects import Effect
from carnet_agent.sending.contact import RETRY_FIRST_MS
from carnet_agent.sending.outgoing import Outgoing
from carnet_cloud.push import REPEAT_MS, REPEATS_MAX
from tests.agent.linekit import World

WINDOW_S = 60
SLACK_S = 6
PUSHES_S = sum(range(1, REPEATS_MAX + 1)) * REPEAT_MS // 1000
"""After so long without an answer the cloud repeats a grant set no more."""
KINDS = ("check_in", "answer", "grant_set", "schema", "schema_request", "data", "acknowledgement")


def recovery_s(lost: int) -> int:
    """10, 20, 40 … seconds between the attempts, then the window that was open meanwhile."""
    return ((1 << lost) - 1) * RETRY_FIRST_MS // 1000 + WINDOW_S + SLACK_S


def until_samples(world: World, seconds: int) -> int:
    """How long it takes until a reading lies in the outbox; fails after ``seconds``."""
    for passed in range(seconds + 1):
        if world.samples():
            return passed
        world.drive(1)
    raise AssertionError(f"nothing arrived in {seconds} s; lost {dict(world.lost)}")


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_readings_arrive_although_a_message_of_the_first_contact_is_lost(tmp_path: Path, kind: str, lost: int) -> None:
    """The owner gives while the car makes contact; a request for a schema follows a schema that was lost."""
    world = World(tmp_path)
    world.lose({kind: lost, **({"schema": lost} if kind == "schema_request" else {})})
    world.connect()
    world.give()
    until_samples(world, recovery_s(lost))
    for _ in range(recovery_s(lost)):
        world.drive(1 if world.lost[kind] < lost or world.rig.count("rows_waiting") else 0)
    assert (world.lost[kind], world.rig.count("rows_waiting")) == (lost, 0)


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("kind", ["check_in", "answer", "grant_set"])
def test_a_car_that_comes_late_learns_of_its_grants_although_a_message_is_lost(
    tmp_path: Path, kind: str, lost: int
) -> None:
    """The cloud has long given up repeating the set; what brings it is the answer to a check-in, and it is lost."""
    world = World(tmp_path)
    world.give()
    for _ in range(0, PUSHES_S + WINDOW_S, 5):
        world.rig.pass_time(5_000, step_ms=5_000, frames=False)
        world.exchange()
    world.lose({kind: lost})
    world.connect()
    until_samples(world, recovery_s(lost))
    assert world.lost[kind] == lost


def test_a_receiver_that_subscribes_late_is_met_after_at_most_as_long_again(tmp_path: Path) -> None:
    """A broker drops what nobody has subscribed to; the car tries again after 10 s, doubling to five minutes."""
    world = World(tmp_path)
    world.give()
    world.lose({"check_in": 100})
    world.connect()
    world.drive(94)
    assert world.lost["check_in"] == 5, "at 0 s, again as the grants come, after 10, 30 and 70 s"
    world.losing.clear()
    until_samples(world, 94 + WINDOW_S + SLACK_S)


def test_an_answer_that_came_too_late_to_tell_the_time_is_asked_for_again(tmp_path: Path) -> None:
    """Without the time the cloud would hold every envelope until the next check-in, half an hour later."""
    world = World(tmp_path)
    world.connect()
    world.give()
    world.drive(5)
    world.connect(False)
    world.rig.reboot()
    world.lose({"check_in": 3})
    world.connect()
    world.drive(69)
    world.rig.pass_time(ROUND_TRIP_MS_MAX + 5_000)
    world.exchange()
    assert world.rig.agent.status()["contact"] is True
    assert world.rig.agent._clock.interval(world.rig.moment()) is None
    until_samples(world, WINDOW_S + SLACK_S)


def test_what_was_sealed_without_the_time_is_not_held_until_the_next_window(tmp_path: Path) -> None:
    """As soon as the car knows the time, it tells the cloud, which then judges what waited for a clock of this boot."""
    world = World(tmp_path)
    world.connect()
    world.give()
    world.drive(5)
    world.connect(False)
    world.rig.reboot()
    world.drive(2 * WINDOW_S)
    assert not world.samples()
    world.connect()
    until_samples(world, RETRY_FIRST_MS // 1000 + 1)


def test_frames_are_read_although_the_disk_failed_as_the_grants_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the core had decided when it failed is not lost with it."""
    world = World(tmp_path)
    world.connect()
    window = Outgoing.window

    def fails(*_arguments: object, **_options: object) -> list[Effect]:
        monkeypatch.setattr(Outgoing, "window", window)
        raise OSError("no space")

    monkeypatch.setattr(Outgoing, "window", fails)
    world.give()
    with pytest.raises(OSError, match="no space"):
        world.exchange()
    world.drive(1)
    assert world.rig.identifiers != {"can0": ()}
