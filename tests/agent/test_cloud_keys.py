"""New keys of the cloud reach a unit with the answer to its next check-in, and until then nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.linekit import World
from tests.cloud.kit import KEYS
from tests.world.cloudkeys import CHANGED, CHANGING

HALF_AN_HOUR_MS = 1_800_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.connect()
    world.give()
    world.drive(61)
    yield world
    assert (world.rig.count("rows_waiting"), world.cloud.counters().get("lost_corrupt", 0)) == (0, 0)
    assert not {name for name in world.cloud.counters() if name.startswith("refused_")}


def version(world: World) -> int:
    return world.rig.agent._out.cloud.version


def test_a_connected_unit_has_them_half_an_hour_later_at_the_latest(world: World) -> None:
    world.cloud.receiver._keys = CHANGING
    began_ms, step_ms = world.rig.boot_ms, 10_000
    while version(world) == KEYS.public.version:
        world.rig.pass_time(step_ms, step_ms=step_ms, frames=False)
        world.exchange()
    assert version(world) == CHANGING.public.version
    assert 1_000_000 < world.rig.boot_ms - began_ms <= HALF_AN_HOUR_MS


def test_a_unit_that_comes_has_them_at_once(world: World) -> None:
    world.connect(False)
    world.cloud.receiver._keys = CHANGING
    world.connect()
    assert version(world) == CHANGING.public.version
    world.cloud.receiver._keys = CHANGED
    world.pusher._key = CHANGED.sign
    world.connect(False)
    world.connect()
    assert version(world) == CHANGED.public.version
    world.drive(61)


def test_a_unit_that_missed_the_change_frees_nothing_and_loses_nothing(world: World) -> None:
    """The old signature was given up too early: the unit counts what it cannot believe, and waits for the old key."""
    world.cloud.receiver._keys = CHANGED
    world.connect(False)
    world.connect()
    world.drive(130)
    assert version(world) == KEYS.public.version
    assert world.rig.count("down_cloud_key_unknown") > 0
    assert world.rig.count("rows_waiting") > 0
    world.cloud.receiver._keys = CHANGING
    world.drive(220)
    assert version(world) == CHANGING.public.version
