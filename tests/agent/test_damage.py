"""Bytes in the buffer that the disk has changed where SQLite does not look: named as lost, and in nobody's way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from carnet.bodies import DestructionReceipt, Gap
from carnet.down import SchemaRequest
from carnet.envelope import parse_envelope
from carnet.envelopetype import EnvelopeType
from tests import consentkit as kit
from tests.agent.agentkit import Rig, answer, bodies, grants
from tests.agent.bufferkit import flip, waiting
from tests.agent.linekit import World
from tests.cloud.kit import DEVICE, NOW_MS

FRAME, BODY = 0, 400


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A car that was given something, and has driven without a connection since."""
    world = World(tmp_path)
    world.connect()
    world.give()
    world.drive(5)
    world.connect(False)
    world.drive(200)
    yield world
    assert not {name: n for name, n in world.cloud.counters().items() if name.startswith("refused_") and n}


def data_rows(world: World) -> list[int]:
    return [row.seq for row in waiting(world.rig.agent._buffer) if row.type == EnvelopeType.DATA]


@pytest.mark.parametrize("at", [FRAME, BODY])
def test_a_damaged_row_is_not_sent_for_ever_but_named(world: World, at: int) -> None:
    """The cloud can answer nothing to what nobody signed; it would hold one of sixteen places until the end."""
    damaged = data_rows(world)[1]
    samples = next(row.samples for row in waiting(world.rig.agent._buffer) if row.seq == damaged)
    flip(world.rig.agent._buffer, damaged, at)
    world.connect()
    world.drive(30)
    assert world.cloud.counters()["lost_corrupt"] == samples
    assert (world.rig.count("rows_corrupt"), world.rig.count("rows_waiting")) == (1, 0)
    with world.cloud.store.transaction() as t:
        watermark = t.streams.get(DEVICE, world.rig.agent._buffer.stream).watermark
    assert watermark >= damaged


def test_a_row_that_is_damaged_while_it_waits_for_its_answer_is_named_too(world: World) -> None:
    damaged = data_rows(world)[0]
    world.lose({"data": 1})
    world.connect()
    assert data_rows(world) == [damaged]
    flip(world.rig.agent._buffer, damaged, BODY)
    world.drive(30)
    assert world.rig.count("rows_waiting") == 0
    assert world.cloud.counters()["lost_corrupt"] > 0


def test_a_damaged_frame_holds_no_destruction_up(world: World) -> None:
    """No note fits into it; its row goes whole, and the boxes of the others as always."""
    rows = data_rows(world)
    flip(world.rig.agent._buffer, rows[0], FRAME)
    world.cloud.consents.event(kit.event("withdraw", [world.token], world.rig.wall_ms), kit.RECORD_ID)
    world.connect()
    assert world.rig.count("boxes_destroyed") > 0
    world.drive(65)
    assert world.rig.agent._buffer.handles() == set()
    assert world.rig.count("rows_waiting") == 0
    with world.cloud.store.transaction() as t:
        ((body, _),) = t.streams.reports(DEVICE, "destruction")
    receipt = DestructionReceipt.parse(body)
    assert receipt.rows == len(rows) - 1
    assert world.cloud.counters()["lost_corrupt"] > 0
    assert world.rig.agent._unfinished is False


def test_a_damaged_follower_proves_nothing(world: World) -> None:
    """What the cloud has is compared with what follows it; a damaged row says neither yes nor no."""
    buffer = world.rig.agent._buffer
    world.lose({"data": 9, "schema": 9})
    world.connect()
    first = data_rows(world)[0]
    world.connect(False)
    flip(buffer, first, FRAME)
    buffer._db.execute("delete from row where seq = ?", (first - 1,))
    assert buffer.manifest(buffer.stream, first - 1) is None
    world.losing.clear()
    world.connect()
    assert world.rig.count("rolled_back") == 0


# schemas


def contact(rig: Rig) -> list[bytes]:
    rig.connect()
    (check_in,) = rig.take()
    rig.hear(answer(check_in, server_ms=rig.wall_ms))
    return rig.take()


@pytest.fixture
def rig() -> Rig:
    """A unit with rows whose schema lies damaged on the disk."""
    rig = Rig(NOW_MS)
    rig.start()
    rig.grant(grants())
    rig.pass_time(61_000)
    contact(rig)
    rig.buffer_db.execute("update schema set document = cast(document || x'00' as blob)")
    return rig


def test_a_damaged_schema_is_as_good_as_lost(rig: Rig) -> None:
    """Sent as it is, the cloud would ask for the right one at every contact, and its rows would wait for ever."""
    (digest,) = rig.agent._buffer.schema_hashes()
    rig.tell(SchemaRequest((digest,)))
    envelopes = rig.envelopes()
    assert bodies(envelopes, EnvelopeType.SCHEMA) == []
    (gap,) = (Gap.parse(body) for body in bodies(envelopes, EnvelopeType.GAP))
    assert [each.reason for each in gap.ranges] == ["corrupt"]
    assert rig.count("rows_corrupt") == 1


def test_a_damaged_schema_is_announced_anew_by_the_next_window(rig: Rig) -> None:
    rig.pass_time(61_000)
    headers = [parse_envelope(each).header for each in rig.take()]
    assert len({each.seq for each in headers if each.type is EnvelopeType.SCHEMA}) == 2
    (digest,) = rig.agent._buffer.schema_hashes()
    rig.tell(SchemaRequest((digest,)))
    assert len(bodies(rig.envelopes(), EnvelopeType.SCHEMA)) == 1
