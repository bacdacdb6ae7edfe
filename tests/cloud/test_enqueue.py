"""What of an envelope leaves, under which record and with which key; and what is told of the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carnet.batch import Batch
from carnet.codec import PLAIN, ZSTD, _plain, decode, encode
from carnet.compression import MAGIC, compress
from carnet.ids import device_bytes, format_id
from carnet.keys import SigningKey
from carnet.schema import Schema
from carnet_cloud.boxes import parse_schema
from carnet_cloud.enqueue import Enqueuer
from carnet_cloud.store.devices import Device
from tests import consentkit as kit
from tests.cloud.enqueuekit import blocks, boxes, calls, deliveries, enqueue, judge, payloads
from tests.cloud.kit import DEVICE, NOW_MS, ODOMETER, SCHEMA, SPEED, VEHICLE, Cloud, Unit, column, readings

NONE = np.array([], np.int64)
UNGRANTED = column(kit.IGNITION, SPEED, "")
"""A condition of the example offer, which nobody gets."""
STRANGERS = format_id("rec_", b"a stranger")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    """One whose owner has given the example record, and whose schema is known."""
    unit = Unit()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema())
    return unit


def silent(batch: Batch, *groups: int) -> Batch:
    """The batch without a sample in these groups."""
    of = batch.schema.groups
    times = tuple(NONE if group in groups else each for group, each in enumerate(batch.times))
    return Batch(batch.schema, times, tuple(NONE if g in groups else v for g, v in zip(of, batch.values, strict=True)))


def schemas(cloud: Cloud) -> int:
    return int(cloud.ask("select count(*) from column_schema")[0])


# whole boxes


def test_a_box_of_which_all_may_leave_leaves_as_it_came(cloud: Cloud, unit: Unit) -> None:
    """The same bytes, also where the cloud would have written them differently."""
    plain = _plain(readings())
    bodies = {bytes([PLAIN]) + plain, bytes([ZSTD]) + compress(plain)[len(MAGIC) :]}
    (other,) = bodies - {encode(readings())}
    cloud.send(unit.data(body=other))
    (payload,) = payloads(cloud)
    assert [(piece.schema_hash, piece.body) for piece in payload.pieces] == [(SCHEMA.hash, other)]


def test_of_what_leaves_whole_no_schema_is_written(cloud: Cloud, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its car has sent it."""
    data = unit.data()
    with cloud.store.transaction() as t:
        asked = calls(monkeypatch, t.streams, "add_schema")
        assert enqueue(Enqueuer(cloud.outlet, t), t, data) == 1
    assert asked == []


def test_columns_without_a_sample_make_no_other_schema(cloud: Cloud, unit: Unit) -> None:
    """A car names all columns of its set in each window: the store would keep every combination that was ever silent,
    and its limit would end the car.
    """
    sent = [silent(readings(), *groups) for groups in ((), (0,), (1,))]
    for batch in sent:
        cloud.send(unit.data(batch))
    assert schemas(cloud) == 1
    assert {payload.pieces[0].body for payload in payloads(cloud)} == {encode(batch) for batch in sent}
    told = sorted([each["path"] for each in event["data"]["columns"]] for event in cloud.events())
    assert told == [[kit.SPEED], [kit.ODOMETER], [kit.ODOMETER, kit.SPEED]]


# what is cut out


LEFT = Schema((column(kit.SPEED, SPEED, "km/h"), column(kit.ODOMETER, ODOMETER, "km", 1)))
"""What may leave of `mixed`."""


def mixed() -> Batch:
    """Columns that leave beside one that may not, which is in the group of one and has one of its own."""
    speed, odometer = LEFT.columns
    return readings(Schema((speed, UNGRANTED, replace(UNGRANTED, group=1), replace(odometer, group=2))))


def test_what_may_not_leave_is_cut_out_and_the_rest_has_a_schema_of_its_own(cloud: Cloud, unit: Unit) -> None:
    """Which the car has never sent: it is kept for whoever reads the event."""
    batch = mixed()
    cloud.send(unit.schema(batch.schema), unit.data(batch))
    (payload,) = payloads(cloud)
    (piece,) = payload.pieces
    with cloud.store.transaction() as t:
        document = t.streams.schema(DEVICE, piece.schema_hash)
    assert document is not None
    left = decode(piece.body, parse_schema(document))
    assert left.schema == LEFT
    assert [each.tolist() for each in left.times] == [batch.times[0].tolist(), batch.times[2].tolist()]
    assert [each.tolist() for each in left.values] == [batch.values[0].tolist(), batch.values[3].tolist()]
    assert blocks(cloud) == {(kit.RECORD_ID, kit.IGNITION, "offer"): 8}
    assert deliveries(cloud)[0].samples == 8


def test_one_schema_is_cut_out_of_another_whatever_has_no_sample(cloud: Cloud, unit: Unit) -> None:
    """An allowed column that is silent stays; one that may not leave is cut out though it is silent: its name, too."""
    cloud.send(unit.schema(mixed().schema))
    before = schemas(cloud)
    for groups in ((), (0,), (2,), (1,)):
        cloud.send(unit.data(silent(mixed(), *groups)))
    found = payloads(cloud)
    assert (len(found), {payload.pieces[0].schema_hash for payload in found}) == (4, {LEFT.hash})
    assert schemas(cloud) == before + 1


def test_what_was_captured_outside_is_cut_out_under_the_same_schema(cloud: Cloud, unit: Unit) -> None:
    """Of the groups in which there is any; the others stay as they are."""
    unit.wall_ms = kit.GIVEN_MS + 1500
    batch = readings()
    inside = Batch(SCHEMA, (batch.times[0][2:], batch.times[1]), (batch.values[0][2:], batch.values[1]))
    cloud.send(unit.data(batch), unit.data(inside))
    found = [decode(payload.pieces[0].body, SCHEMA) for payload in payloads(cloud)]
    assert [[each.tolist() for each in left.values] for left in found] == [[[4, 6], [104, 106]]] * 2
    assert {payload.pieces[0].schema_hash for payload in payloads(cloud)} == {SCHEMA.hash}
    assert schemas(cloud) == 1
    assert blocks(cloud) == {(kit.RECORD_ID, kit.ODOMETER, "time"): 2, (kit.RECORD_ID, kit.SPEED, "time"): 4}


def test_of_a_box_in_which_nothing_is_left_there_is_no_event(cloud: Cloud, unit: Unit) -> None:
    """Neither where no column may leave nor where those that may are silent."""
    only = Schema((UNGRANTED,))
    cloud.send(unit.schema(only), unit.schema(mixed().schema))
    assert judge(cloud, unit.data(readings(only))) == 0
    assert judge(cloud, unit.data(silent(mixed(), 0, 2))) == 0
    assert payloads(cloud) == []


# events


def test_one_envelope_makes_one_event_for_each_record(cloud: Cloud, unit: Unit) -> None:
    """Of all its boxes together, and says how many."""
    cloud.consents.give(kit.token(id=kit.OTHER_RECORD_ID), kit.VEHICLE)
    both = (kit.RECORD_ID, kit.OTHER_RECORD_ID)
    assert judge(cloud, boxes(unit, readings(), readings(count=2), records=both)) == 2
    assert sorted((each.record, len(each.pieces)) for each in payloads(cloud)) == [(record, 2) for record in both]
    assert cloud.counters()["events_enqueued"] == 2


def test_an_event_that_is_known_is_not_made_again(cloud: Cloud, unit: Unit) -> None:
    data = unit.data()
    assert [judge(cloud, data), judge(cloud, data)] == [1, 1]
    assert cloud.counters()["events_enqueued"] == 1
    (queued,) = payloads(cloud)
    (delivery,) = deliveries(cloud)
    assert (queued.event_id, delivery.outcome, delivery.time_ms) == (delivery.event_id, "queued", NOW_MS)


def test_an_event_may_be_asked_for_as_long_as_its_offer_says(cloud: Cloud, unit: Unit) -> None:
    judge(cloud, unit.data())
    offer = kit.offer_bytes(id=format_id("off_", b"replayable"), replay_ms=kit.DAY_MS)
    cloud.offers.publish(offer)
    cloud.consents.give(kit.token(offer, id=kit.OTHER_RECORD_ID), kit.VEHICLE)
    judge(cloud, unit.data(records=(kit.OTHER_RECORD_ID,)))
    found = {
        record: cloud.ask(f"select replay_until_ms from outbox where record = '{record}'")[0]
        for record in (kit.RECORD_ID, kit.OTHER_RECORD_ID)
    }
    assert found == {kit.RECORD_ID: NOW_MS, kit.OTHER_RECORD_ID: NOW_MS + kit.DAY_MS}


def test_an_event_bears_the_generation_of_its_own_tenure(cloud: Cloud, unit: Unit) -> None:
    """Also in a group in which units of two come together."""
    new = Unit(device=b"n" * 16, key=SigningKey.from_seed(b"n" * 32), epoch=2)
    with cloud.store.transaction() as t:
        t.devices.add(Device(new.device, VEHICLE, kit.TENANT, 2, new.key.public, new.receive.public, "active"), NOW_MS)
        t.devices.pin_owner_key(VEHICLE, 2, "other", kit.OTHER_KEY.public)
        t.consents.raise_generation(VEHICLE, 1, above=6)
    cloud.consents.give(kit.token(id=kit.OTHER_RECORD_ID, epoch=2, key=kit.OTHER_KEY), kit.VEHICLE)
    cloud.send(new.schema(), device=new.device)
    with cloud.store.transaction() as t:
        enqueuer = Enqueuer(cloud.outlet, t)
        enqueue(enqueuer, t, unit.data())
        enqueue(enqueuer, t, new.data(records=(kit.OTHER_RECORD_ID,)))
    assert {each.record: each.generation for each in payloads(cloud)} == {kit.RECORD_ID: 7, kit.OTHER_RECORD_ID: 1}


# what is told of the rest


def test_what_is_withheld_is_told_under_the_record_if_it_is_of_this_car(cloud: Cloud, unit: Unit) -> None:
    """A unit that names other people's records, or invents some, is told nothing of them, and makes no row for each."""
    others = device_bytes(kit.OTHER_VEHICLE)
    with cloud.store.transaction() as t:
        car = Device(b"o" * 16, others, kit.TENANT, 1, kit.OTHER_KEY.public, unit.receive.public, "active")
        t.devices.add(car, NOW_MS)
        t.devices.pin_owner_key(others, 1, "other", kit.OTHER_KEY.public)
    foreign = kit.token(id=kit.OTHER_RECORD_ID, vehicle=kit.OTHER_VEHICLE, key=kit.OTHER_KEY)
    cloud.consents.give(foreign, kit.OTHER_VEHICLE)
    cloud.consents.event(kit.event("pause", [kit.token()], NOW_MS), kit.RECORD_ID)
    batch = silent(readings(), 1)
    assert judge(cloud, unit.data(batch, records=(kit.RECORD_ID, kit.OTHER_RECORD_ID, STRANGERS))) == 0
    assert blocks(cloud) == {
        (kit.RECORD_ID, kit.ODOMETER, "owner"): 4,
        ("", kit.ODOMETER, "tenure"): 4,
        ("", kit.ODOMETER, "owner"): 4,
    }
    assert (cloud.counters()["blocked_owner"], cloud.counters()["blocked_tenure"]) == (8, 4)


def test_names_that_only_the_unit_knows_are_told_as_one(cloud: Cloud, unit: Unit) -> None:
    """Or it could fill the store with them."""
    names = "Vehicle.Invented", "Vehicle.Invention"
    schema = Schema(tuple(column(name, SPEED, "", n) for n, name in enumerate(names)))
    cloud.send(unit.schema(schema), unit.data(readings(schema)))
    assert blocks(cloud) == {(kit.RECORD_ID, "", "schema"): 8}


def test_what_has_no_sample_is_not_told_as_withheld(cloud: Cloud, unit: Unit) -> None:
    cloud.send(unit.schema(mixed().schema))
    judge(cloud, unit.data(silent(mixed(), 0, 1)))
    judge(cloud, unit.data(silent(readings(), 0), records=(STRANGERS,)))
    assert blocks(cloud) == {("", kit.SPEED, "owner"): 4}
    assert "blocked_offer" not in cloud.counters()
