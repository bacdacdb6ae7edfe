"""Somebody else's unit, a second unit with the same card, and one whose pairing has ended: at the cloud's door."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from carnet.ids import device_text
from carnet.keys import SigningKey
from carnet.topics import topic_up
from tests.agent.agentkit import agent_of
from tests.agent.linekit import World
from tests.cloud.kit import DEVICE, NOW_MS, Cloud, Unit

OTHER = bytes(range(50, 66))


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    """Enrolled, with a record given."""
    unit = Unit()
    cloud.enrol(unit)
    cloud.give()
    return unit


@pytest.mark.parametrize(
    "topic",
    [
        topic_up(OTHER),
        topic_up(DEVICE).replace("/up", "/down"),
        topic_up(DEVICE).replace("carnet/1/", "carnet/2/"),
        topic_up(DEVICE).upper(),
        topic_up(DEVICE) + "/",
        f"carnet/1/00/{device_text(DEVICE)}/up",
        "carnet/1/+/+/up",
        "",
    ],
)
def test_w3_an_envelope_on_another_topic_is_not_taken(cloud: Cloud, unit: Unit, topic: str) -> None:
    """Of another enrolled unit, of a shard that is not the device's, or of no unit at all."""
    cloud.enrol(Unit(device=OTHER, key=SigningKey.from_seed(b"h" * 32)))
    payload = unit.schema()
    assert cloud.receiver.process([(topic, payload)], NOW_MS) == []
    assert sum(n for name, n in cloud.counters().items() if name.startswith("refused_")) == 1
    # its number was not taken by that: on its own topic it is new
    assert cloud.send(payload)
    assert "duplicates" not in cloud.counters()


def clone_of(first: World, folder: Path) -> World:
    """Another unit with what lies on the card of the first, at the same moment."""
    clone = World(folder, beside=first)
    clone.rig.buffer_db.deserialize(first.rig.buffer_db.serialize())
    clone.rig.consent_db.deserialize(first.rig.consent_db.serialize())
    clone.rig.agent = agent_of(clone.rig)
    clone.rig.pass_time(first.rig.boot_ms - clone.rig.boot_ms, step_ms=60_000, frames=False)
    clone.rig.start()
    clone.rig.take()
    return clone


def test_w9_a_clone_that_is_online_at_the_same_time_quarantines_the_device(tmp_path: Path) -> None:
    """The first number that both use shows it; from then on neither is believed, and both keep what they collect."""
    first = World(tmp_path)
    first.connect()
    first.give()
    first.drive(61)
    clone = clone_of(first, tmp_path)
    clone.connect()
    for _ in range(75):
        first.drive(1)
        clone.drive(1)
    assert first.cloud.counters()["quarantined_clone"] == 1
    taken = {event["id"] for event in first.cloud.events()}
    assert set(Counter(event["id"] for event in first.cloud.events()).values()) == {1}
    for each in (first, clone):
        each.connect(False)
        each.connect()
        each.drive(70)
        assert each.rig.count("rows_waiting") > 0
    assert {event["id"] for event in first.cloud.events()} == taken


def test_w14_what_an_ended_unit_had_on_its_way_is_not_taken_and_gets_no_answer(cloud: Cloud, unit: Unit) -> None:
    """Taken before the end stays taken; in flight at that moment, sent again, and signed later is refused alike."""
    cloud.send(unit.schema(), before := unit.data())
    in_flight = unit.data()
    with cloud.store.transaction() as t:
        t.devices.set_state(unit.device, "ended")
    assert cloud.send(in_flight, before, unit.data(), unit.check_in()) == []
    assert len(cloud.events()) == 1
    assert cloud.counters()["refused_device_ended"] == 4
