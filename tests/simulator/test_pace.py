"""Waiting until a frame is due, with a pretended clock."""

from __future__ import annotations

import pytest

from carnet_simulator.pace import BURST_NS, Pace


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000
        self.slept: list[float] = []

    def read(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += round(seconds * 1e9)


@pytest.mark.parametrize("speed, seconds", [(1.0, 10.0), (10.0, 1.0), (0.5, 20.0)])
def test_frames_take_their_time_divided_by_the_speed(speed: float, seconds: float) -> None:
    """Whatever the first frame's time stamp is."""
    clock = Clock()
    pace = Pace(speed, clock.read, clock.sleep)
    for millisecond in range(0, 10_001, 10):
        pace.wait(5_000_000_000 + millisecond * 1_000_000)
    assert clock.now_ns - 1_000_000_000 == pytest.approx(seconds * 1e9, abs=BURST_NS)


def test_as_fast_as_possible_never_waits() -> None:
    """And reads no clock."""
    clock = Clock()
    pace = Pace(None, clock.read, clock.sleep)
    for second in range(100):
        pace.wait(second * 1_000_000_000)
    assert clock.slept == []


def test_what_is_late_goes_at_once_and_the_rest_catches_up() -> None:
    """A stalled machine shifts nothing for good."""
    clock = Clock()
    pace = Pace(1.0, clock.read, clock.sleep)
    pace.wait(0)
    clock.now_ns += 3_000_000_000
    pace.wait(1_000_000_000)
    assert clock.slept == []
    pace.wait(4_000_000_000)
    assert clock.slept == [pytest.approx(1.0)]
