"""What was saved from a damaged buffer is sent only if no earlier life of the disk has used its numbers for others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from carnet_agent.buffer import open_buffer
from carnet_agent.buffer.tables import PAGE_BYTES
from tests.agent.agentkit import BUFFER_BYTES, SIGN
from tests.agent.linekit import World
from tests.cloud import kit as cloud


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.connect()
    world.give()
    world.drive(61)
    yield world
    assert world.cloud.counters().get("quarantined_clone", 0) == 0
    assert world.rig.count("rows_waiting") == 0


def damage(world: World, folder: Path) -> None:
    """A page of the buffer is nonsense when the unit starts again."""
    path = folder / "unit.db"
    path.write_bytes(world.rig.buffer_db.serialize())
    (page,) = world.rig.buffer_db.execute("select rootpage from sqlite_master where name = 'checkpoint'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"no page." * (PAGE_BYTES // 8))
    found = open_buffer(path, cloud.DEVICE, SIGN, world.rig.random.randbytes, BUFFER_BYTES)
    assert found.quarantined
    world.rig.buffer_db = found.buffer._db
    world.rig.start()


def offline(world: World, seconds: int) -> None:
    """A start, and then a drive without a connection."""
    world.rig.start()
    world.connect(False)
    world.drive(seconds)


@pytest.mark.parametrize("lived_s", [130, 400])
def test_a_disk_that_lied_and_is_damaged_later_uses_no_number_twice(world: World, tmp_path: Path, lived_s: int) -> None:
    """The life that it forgot had sent them; the loss is named, and the unit is not taken for its own clone."""
    image = world.rig.buffer_db.serialize()
    world.drive(lived_s)
    world.rig.buffer_db.deserialize(image)
    offline(world, 250)
    damage(world, tmp_path)
    world.connect()
    world.drive(61)
    assert world.rig.count("samples_rolled_back") == world.cloud.counters()["lost_rolled_back"] > 0


def test_what_was_never_offered_and_nobody_else_has_is_saved(world: World, tmp_path: Path) -> None:
    offline(world, 250)
    rows = world.rig.count("rows_waiting")
    damage(world, tmp_path)
    assert world.rig.count("rows_waiting") == rows
    world.connect()
    world.drive(61)
    assert world.rig.count("samples_rolled_back") == 0
    assert world.cloud.counters().get("lost_rolled_back", 0) == 0


def test_nothing_but_check_ins_is_sent_before_every_saved_stream_is_answered(world: World, tmp_path: Path) -> None:
    old = world.rig.agent._buffer.stream
    offline(world, 250)
    damage(world, tmp_path)
    world.lose({"check_in": 1})
    world.connect()
    assert list(world.rig.agent._buffer.unproven.all()) == [old]
    assert world.rig.agent._buffer.asking == old
    world.drive(9)
    assert world.rig.count("rows_acknowledged") == 0
    world.drive(80)
    assert world.rig.agent._buffer.asking == world.rig.agent._buffer.stream != old


def test_what_had_been_offered_is_not_asked_for(world: World, tmp_path: Path) -> None:
    """The buffer knew that it may have been sent: an earlier life had no others."""
    world.connect(False)
    world.drive(130)
    damage(world, tmp_path)
    assert world.rig.agent._buffer.unproven.all() == {}
    world.connect()
    world.drive(61)
