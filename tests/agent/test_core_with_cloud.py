"""The real agent core and the real receiver core on one clock: what the owner gave goes through, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carnet.bodies import DestructionReceipt
from carnet.envelope import parse_envelope
from carnet.topics import topic_up
from carnet_agent.buffer import Buffer
from carnet_cloud.consents import Ended
from carnet_cloud.statement import statement_of
from tests import consentkit as kit
from tests.agent.linekit import World
from tests.cloud.kit import DEVICE, VEHICLE


def told_of_the_car(world: World) -> dict[str, Any]:
    """What the owner's statement says of the record's destruction in the car."""
    with world.cloud.store.transaction() as t:
        (entry,) = statement_of(t, VEHICLE, {1}, world.rig.wall_ms)["records"]
    found: dict[str, Any] = entry["on_car"]
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.connect()
    yield world
    bad = {name: n for name, n in world.cloud.counters().items() if name.startswith("refused_") and n}
    assert not bad
    assert not {name: n for name, n in world.rig.agent.counters().items() if name.startswith("down_") and n}


def test_nothing_is_read_before_the_owner_has_given_anything(world: World) -> None:
    world.drive(70)
    assert world.rig.identifiers == {"can0": ()}
    assert world.samples() == {}


def test_what_was_given_arrives_once_and_at_its_rate(world: World) -> None:
    world.give()
    world.drive(130)
    samples = world.samples()
    assert sorted(samples) == [kit.SPEED, kit.ODOMETER]
    times = samples[kit.SPEED]
    assert len(times) == len(set(times)) == pytest.approx(119, abs=3)
    assert all(b - a >= 1000 for a, b in itertools.pairwise(times))
    assert len(samples[kit.ODOMETER]) == pytest.approx(24, abs=1)
    assert world.rig.count("rows_waiting") == 0


def test_after_the_withdrawal_nothing_more_is_read_or_kept(world: World) -> None:
    token = world.give()
    world.drive(90)
    before = sum(map(len, world.samples().values()))
    assert before
    ended = world.cloud.consents.event(kit.event("withdraw", [token], world.rig.wall_ms), kit.RECORD_ID)
    assert isinstance(ended, Ended)
    world.exchange()
    assert world.rig.identifiers == {"can0": ()}
    assert world.samples() == {}
    world.drive(90)
    assert world.samples() == {}
    assert world.rig.agent.status()["in_force"] == []
    assert world.rig.agent.status()["samples_pending"] == 0


def test_what_was_collected_without_a_connection_arrives_later(world: World) -> None:
    world.give()
    world.drive(5)
    world.connect(False)
    world.drive(600)
    assert world.samples() == {}
    world.connect()
    world.drive(65)
    times = world.samples()[kit.SPEED]
    assert len(times) == len(set(times))
    assert len(times) == pytest.approx(664, abs=8)
    assert world.rig.count("rows_waiting") == 0


def test_boxes_of_an_ended_record_are_destroyed_on_the_car_and_the_cloud_gets_the_receipt(world: World) -> None:
    token = world.give()
    world.drive(5)
    world.connect(False)
    world.drive(200)
    world.cloud.consents.event(kit.event("withdraw", [token], world.rig.wall_ms), kit.RECORD_ID)
    world.connect()
    assert world.rig.count("boxes_destroyed") >= 3
    world.drive(65)
    with world.cloud.store.transaction() as t:
        ((body, time_ms),) = t.streams.reports(DEVICE, "destruction")
    receipt = DestructionReceipt.parse(body)
    assert receipt.samples > 100
    assert told_of_the_car(world) == {
        "receipts": 1, "boxes": receipt.boxes, "samples": receipt.samples, "last_ms": time_ms
    }  # fmt: skip
    assert world.samples() == {}
    assert world.rig.count("rows_waiting") == 0


def test_of_two_records_that_shared_boxes_each_is_told_what_went_with_it(world: World) -> None:
    """The first that ends leaves what both shared to the other; what went then is counted as it lay in the buffer."""
    tokens = {record: world.give(record) for record in (kit.RECORD_ID, kit.OTHER_RECORD_ID)}
    world.drive(5)
    world.lose({"data": 1_000_000})
    world.drive(125)
    shared = lying(world)
    world.withdraw(tokens[kit.RECORD_ID])
    world.exchange()
    assert set(lying(world)) >= set(shared)
    world.drive(130)
    apart = lying(world)
    world.withdraw(tokens[kit.OTHER_RECORD_ID], kit.OTHER_RECORD_ID)
    world.exchange()
    assert lying(world) == {}
    world.losing.clear()
    world.drive(65)
    (both,) = (found for handle, found in apart.items() if handle in shared)
    with world.cloud.store.transaction() as t:
        entries = statement_of(t, VEHICLE, {1}, world.rig.wall_ms)["records"]
    told = {entry["record"]: entry["on_car"] for entry in entries}
    counts = {name: (each["receipts"], each["boxes"], each["samples"]) for name, each in told.items()}
    everything = [sum(numbers) for numbers in zip(*apart.values(), strict=True)]
    assert counts == {kit.RECORD_ID: (1, *both), kit.OTHER_RECORD_ID: (2, *everything)}
    assert len(apart) == 2
    assert world.rig.count("rows_waiting") == 0


def lying(world: World) -> dict[bytes, tuple[int, int]]:
    """By handle: how many boxes, sealed and open, with how many samples lie in the car's buffer."""
    rows = world.rig.buffer_db.execute(
        "select handle, count(*), sum(samples) from (select handle, samples from box union all"
        " select handle, samples from checkpoint) group by handle"
    )
    return {handle: (boxes, samples) for handle, boxes, samples in rows}


def test_a_crash_between_destruction_and_receipt_loses_no_receipt_and_makes_no_second_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's statement tells it once, whatever the power does."""
    token = world.give()
    world.drive(5)
    world.connect(False)
    world.drive(200)
    world.cloud.consents.event(kit.event("withdraw", [token], world.rig.wall_ms), kit.RECORD_ID)
    with monkeypatch.context() as patch:

        def cut(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Buffer, "add_receipt_row", cut)
        with pytest.raises(KeyboardInterrupt):
            world.connect()
    assert told_of_the_car(world)["receipts"] == 0
    for _ in range(2):
        world.rig.start()
        world.connect()
        world.drive(65)
        told = told_of_the_car(world)
        assert (told["receipts"], told["samples"] > 100) == (1, True)


@pytest.mark.parametrize("crash", [False, True], ids=["in one life", "with a crash in between"])
def test_while_boxes_of_an_ended_record_are_being_destroyed_nothing_leaves_but_the_contact(
    world: World, monkeypatch: pytest.MonkeyPatch, crash: bool
) -> None:
    """A full buffer takes a while; the receipt comes when all of them are gone, and is of all of them."""
    monkeypatch.setattr("carnet_agent.buffer.destruction.ROWS_AT_ONCE", 1)
    token = world.give()
    world.drive(5)
    world.connect(False)
    world.drive(400)
    rows = world.rig.count("rows_waiting")
    world.cloud.consents.event(kit.event("withdraw", [token], world.rig.wall_ms), kit.RECORD_ID)
    world.connect()
    before = 0
    if crash:
        before = world.rig.count("boxes_destroyed")
        world.rig.start()
        world.connect()
    destroyed = [world.rig.count("boxes_destroyed")]
    while world.rig.agent._out.dying:
        assert (world.rig.count("rows_waiting"), told_of_the_car(world)["receipts"]) == (rows, 0)
        world.drive(1)
        destroyed.append(world.rig.count("boxes_destroyed"))
    assert len(destroyed) > 4
    assert all(before < after for before, after in itertools.pairwise(destroyed))
    world.drive(65)
    told = told_of_the_car(world)
    assert (told["receipts"], told["boxes"]) == (1, before + destroyed[-1])
    assert world.samples() == {}
    assert world.rig.count("rows_waiting") == 0


def test_a_crash_loses_at_most_what_came_after_the_last_checkpoint(world: World) -> None:
    world.give()
    world.drive(5)
    world.connect(False)
    world.drive(53)
    world.rig.start()
    assert world.rig.count("boxes_promoted") > 0
    world.connect()
    world.drive(61)
    times = world.samples()[kit.SPEED]
    assert len(times) == len(set(times))
    assert len(times) >= 117 - 1 - 11


def test_a_clock_learnt_from_the_cloud_places_the_captures(world: World) -> None:
    world.give()
    world.drive(61)
    with world.cloud.store.transaction() as t:
        anchor = t.streams.anchor(DEVICE, world.rig.boot_id)
    assert anchor is not None
    earliest, latest = anchor.at(world.rig.boot_ms)
    assert earliest <= world.rig.wall_ms <= latest
    assert latest - earliest < 1000


def test_a_cloud_that_was_restored_gets_again_what_is_still_here(world: World) -> None:
    world.give()
    world.drive(130)
    # the stream's rows are gone from the cloud, the consents are not
    with world.cloud.store.transaction() as t:
        for table in ("stream", "replay", "column_schema"):
            t.streams._db.execute(f"delete from {table}")
    world.connect(False)
    world.connect()
    assert world.rig.count("rows_reopened") >= 3
    world.drive(30)
    assert world.rig.count("rows_waiting") == 0


def test_a_restored_card_uses_no_number_again_that_the_cloud_has_beyond_a_hole(world: World) -> None:
    """The watermark says nothing of it, and two starts without a connection have made other rows with these numbers."""
    world.give()
    world.drive(61)
    image = world.rig.buffer_db.serialize()
    world.rig.pass_time(190_000)
    newest = max(world.rig.take(), key=lambda payload: parse_envelope(payload).header.seq)
    world.cloud.receiver.process([(topic_up(DEVICE), newest)], world.rig.wall_ms)
    world.rig.buffer_db.deserialize(image)
    for _ in range(2):
        world.rig.start()
        world.connect(False)
        world.drive(250)
    world.connect()
    world.drive(61)
    assert world.rig.count("rolled_back") == 1
    assert world.cloud.counters().get("quarantined_clone", 0) == 0
    assert world.rig.count("rows_waiting") == 0


def test_a_restored_card_begins_a_new_stream(world: World) -> None:
    world.give()
    world.drive(61)
    image = world.rig.buffer_db.serialize()
    world.drive(120)
    world.rig.buffer_db.deserialize(image)
    old = world.rig.agent._buffer.stream
    world.rig.start()
    world.connect(False)
    world.drive(61)
    world.connect()
    world.drive(61)
    assert world.rig.count("rolled_back") == 1
    assert world.rig.agent._buffer.stream != old
    assert world.cloud.counters().get("quarantined_clone", 0) == 0
    assert world.cloud.counters()["lost_rolled_back"] > 0
    assert world.rig.count("rows_waiting") == 0
