"""The wall clock of a unit is ten years off, begins at 1970, or steps: BOOTTIME and the cloud decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from carnet_agent.moment import Moment
from tests import consentkit as kit
from tests.agent.linekit import World
from tests.cloud.kit import NOW_MS

TEN_YEARS_MS = 3650 * kit.DAY_MS
NEAR_MS = 50

Lie = Callable[[int], int]
"""BOOTTIME in milliseconds -> how far the wall clock is off then."""
LIES: dict[str, Lie] = {
    "ten years ahead": lambda _: TEN_YEARS_MS,
    "ten years behind": lambda _: -TEN_YEARS_MS,
    "begins at 1970": lambda boot_ms: boot_ms - NOW_MS,
    "steps to and fro": lambda boot_ms: (TEN_YEARS_MS, -TEN_YEARS_MS, 0)[boot_ms // 7_000 % 3],
}


def driven(folder: Path, lie: Lie, *, synchronised: bool) -> World:
    """A consented drive of a unit whose system tells such times."""
    world = World(folder)
    honest = world.rig.moment

    def moment() -> Moment:
        told = honest()
        return replace(told, real_ms=world.rig.wall_ms + lie(told.boot_ms), synchronised=synchronised)

    world.rig.moment = moment  # type: ignore[method-assign]
    world.rig.start()
    world.connect()
    world.give()
    world.drive(140)
    return world


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """When the speeds were captured that an honest unit sends."""
    return driven(tmp_path_factory.mktemp("honest"), lambda _: 0, synchronised=False).samples()[kit.SPEED]


@pytest.mark.parametrize("synchronised", [False, True], ids=["nobody set it", "it says that it is right"])
@pytest.mark.parametrize("name", LIES)
def test_f13_a_wrong_clock_moves_no_capture_time(
    tmp_path: Path, truth: list[int], name: str, synchronised: bool
) -> None:
    """Not a sample less, none at another time: a clock that nobody set is asked nothing, the cloud's word beats one
    that claims to be right.
    """
    world = driven(tmp_path, LIES[name], synchronised=synchronised)
    assert world.samples()[kit.SPEED] == pytest.approx(truth, abs=NEAR_MS)
    assert not [n for name, n in world.cloud.counters().items() if name.startswith(("refused_", "held_")) and n]
