"""The agent's whole path on a real CAN interface: from frames on vcan0 over a real Mosquitto to a recipient's file.

One road for all cases, since starting its programs takes most of the time; the last case withdraws.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agent.candatagrams import error
from tests.system.guest.vcan import INTERFACE, ip, transmitted
from tests.system.guest.vcanroad import WAIT_S, WHEEL_SPEEDS, VcanRoad, kernel_filters, wheels
from tests.system.road import until


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VcanRoad]:
    made = VcanRoad(tmp_path_factory.mktemp("road"))
    try:
        made.begin()
        assert kernel_filters() == [], "without a grant the kernel hands out nothing"
        made.give()
        yield made
    finally:
        made.close()


def test_the_kernel_is_asked_for_the_granted_message_alone_and_its_readings_arrive(road: VcanRoad) -> None:
    assert kernel_filters() == [WHEEL_SPEEDS]
    before = road.bus()["frames"]
    road.deliver(1001, 1002, 1003)
    assert road.speeds() == [1001, 1002, 1003]
    assert road.bus()["frames"] == before + 3, "frames that nobody granted stay in the kernel"


def test_after_the_interface_was_down_every_reading_arrives_again(road: VcanRoad) -> None:
    before = len(road.speeds())
    ip("link", "set", INTERFACE, "down")
    until(lambda: road.facts()["buses"]["can0"]["fault"] == "interface_down", road.logs, WAIT_S)
    ip("link", "set", INTERFACE, "up")
    road.deliver(*range(2000, 2050))
    assert road.speeds()[before:] == list(range(2000, 2050))
    assert road.facts()["buses"]["can0"]["fault"] is None
    assert (road.bus()["interrupted"], road.bus()["dropped"]) == (1, 0)


def test_error_frames_are_counted_and_harm_no_reading(road: VcanRoad) -> None:
    before, errors = len(road.speeds()), road.bus()["error_frames"]
    road.put(*[error(0x88)] * 300)
    road.deliver(3001, 3002)
    assert road.speeds()[before:] == [3001, 3002]
    assert road.bus()["error_frames"] == errors + 300
    assert road.facts()["failures"] == {}


def test_after_a_withdrawal_the_kernel_hands_out_nothing(road: VcanRoad) -> None:
    """The last case: nothing is granted any more. In all cases together the agent has put no frame on the bus."""
    road.owner("withdraw", road.record)
    until(lambda: kernel_filters() == [], road.logs, WAIT_S)
    before, frames = road.speeds(), road.bus()["frames"]
    road.put(*[wheels(4000)] * 20)
    assert road.bus()["frames"] == frames
    assert road.stop("agent") == 0
    assert road.speeds() == before
    assert transmitted() == road.sent
