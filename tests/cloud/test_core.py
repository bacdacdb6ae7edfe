"""The receiver takes each envelope once, answers only what is durable, and lets out only what the gate allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carnet.batch import Batch
from carnet.bodies import Gap, GapRange
from carnet.codec import encode
from carnet.down import GrantSetMessage, Refusal, SchemaRequest
from carnet.envelope import NO_PREVIOUS
from carnet.envelopetype import EnvelopeType
from carnet.keys import SigningKey
from carnet.records import sign_record
from carnet.schema import Schema
from carnet.transforms import Transform
from tests import consentkit as kit
from tests.cloud.kit import NOW_MS, SPEED, Cloud, Unit, column, readings


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    unit = Unit()
    cloud.enrol(unit)
    return unit


@pytest.fixture
def granted(cloud: Cloud, unit: Unit) -> Unit:
    """A unit whose owner has given the example record, and whose schema is known."""
    cloud.give()
    cloud.send(unit.schema())
    return unit


def test_a_consented_envelope_becomes_one_event_with_record_and_generation(cloud: Cloud, granted: Unit) -> None:
    """The event names its record, its generation and the recipient's own reference, and holds physical values."""
    (ack,) = granted.acks(cloud.send(granted.data()))
    assert ack.covers(2)
    assert ack.watermark == 2
    assert ack.head == granted.head
    (event,) = cloud.events()
    assert event["specversion"] == "1.0"
    assert event["data"]["record"] == kit.RECORD_ID
    assert event["data"]["generation"] == 1
    assert event["data"]["reference"] == "Auftrag 4711"
    odometer, speed = event["data"]["columns"]
    assert (odometer["path"], odometer["v"]) == (kit.ODOMETER, [0.0, 1.0, 2.0, 3.0])
    assert (speed["path"], speed["unit"], speed["v"]) == (kit.SPEED, "km/h", [50.0, 51.0, 52.0, 53.0])
    assert speed["t_ms"] == [NOW_MS - 3000, NOW_MS - 2000, NOW_MS - 1000, NOW_MS - 11]


def test_no_reading_lies_in_the_store_unsealed(cloud: Cloud, granted: Unit) -> None:
    """Law 4: what waits for a recipient can be read with its record's key alone."""
    cloud.send(granted.data())
    with cloud.store.transaction() as t:
        assert t.outbox.depth() == {"queued": 1}
    with cloud.store._turn:
        image = cloud.store._connection.serialize()
    assert encode(readings()) not in image


def test_nothing_without_a_record_is_forwarded_and_the_reason_is_told(cloud: Cloud, unit: Unit) -> None:
    """Nobody's by default: acknowledged, counted, dropped."""
    cloud.send(unit.schema())
    (ack,) = unit.acks(cloud.send(unit.data()))
    assert ack.covers(2)
    assert cloud.events() == []
    with cloud.store.transaction() as t:
        assert {(b.path, b.reason, b.samples) for _, b in t.blocks.all()} == {
            (kit.ODOMETER, "owner", 4),
            (kit.SPEED, "owner", 4),
        }


def test_the_same_envelope_again_is_acknowledged_and_not_forwarded_twice(cloud: Cloud, granted: Unit) -> None:
    """Also within one group of messages."""
    data = granted.data()
    cloud.send(data, data)
    (ack,) = granted.acks(cloud.send(data))
    assert ack.covers(2)
    assert len(cloud.events()) == 1
    assert cloud.counters()["duplicates"] == 2


def test_one_number_with_another_manifest_quarantines_the_device(cloud: Cloud, granted: Unit) -> None:
    """Two signed envelopes with one number prove a clone; nothing of either is believed any more."""
    twin = Unit(seq=granted.seq, head=granted.head)
    cloud.send(granted.data())
    assert cloud.send(twin.data(readings(count=3))) == []
    assert cloud.counters()["quarantined_clone"] == 1
    assert cloud.send(granted.data()) == []
    assert cloud.counters()["deferred_device_quarantined"] == 1


def test_a_fork_is_seen_even_when_it_arrives_out_of_order(cloud: Cloud, granted: Unit) -> None:
    """The successor names another predecessor than the one that comes later."""
    twin = Unit(seq=granted.seq, head=granted.head)
    granted.data()
    later = granted.data()
    cloud.send(later)
    assert cloud.send(twin.data(readings(count=3))) == []
    assert cloud.counters()["quarantined_clone"] == 1


def test_a_missing_schema_is_asked_for_and_nothing_is_acknowledged(cloud: Cloud, unit: Unit) -> None:
    """The unit keeps its row until the cloud can read it."""
    cloud.give()
    schema = unit.schema()
    data = unit.data()
    (answer,) = cloud.send(data)
    request = unit.open(answer)
    assert isinstance(request, SchemaRequest)
    assert request.hashes == (readings().schema.hash,)
    (ack,) = unit.acks(cloud.send(schema, data))
    assert ack.covers(2)
    assert len(cloud.events()) == 1


def test_a_body_that_cannot_be_read_is_refused_by_number_and_manifest(cloud: Cloud, granted: Unit) -> None:
    """The signature vouches for it, so sending it again would never help; the chain goes on."""
    answers = [granted.open(each) for each in cloud.send(granted.data(body=b"\x07nonsense"))]
    (refusal,) = [each for each in answers if isinstance(each, Refusal)]
    assert (refusal.seq, refusal.manifest_hash, refusal.reason) == (2, granted.head, "codec_unknown")
    (ack,) = granted.acks(cloud.send(granted.data()))
    assert ack.watermark == 3


def test_a_broken_envelope_spoils_no_other_of_its_group(cloud: Cloud, granted: Unit) -> None:
    """What was good survives."""
    cloud.send(granted.data(body=b"\x01junk"), granted.data(), b"rubbish", granted.data())
    assert len(cloud.events()) == 2


def test_a_stranger_gets_no_answer(cloud: Cloud, granted: Unit) -> None:
    """Neither an unknown device nor a wrong signature nor a foreign topic is told anything."""
    stranger = Unit(device=b"x" * 16)
    forged = Unit(key=SigningKey.from_seed(b"z" * 32))
    assert cloud.send(stranger.data(), device=stranger.device) == []
    assert cloud.send(forged.data()) == []
    assert cloud.send(granted.data(), device=stranger.device) == []
    counters = cloud.counters()
    assert counters["refused_device_unknown"] == 1
    assert counters["refused_device_kid_differs"] == 1
    assert counters["refused_topic_other_device"] == 1


def test_the_watermark_passes_only_what_is_known_or_named_in_a_gap(cloud: Cloud, granted: Unit) -> None:
    """A hole stops it; the unit's own word about the hole lets it go on."""
    granted.data()
    third = granted.data()
    (ack,) = granted.acks(cloud.send(third))
    assert (ack.watermark, ack.ranges) == (1, ((3, 3),))
    gap = Gap(granted.stream, (GapRange(2, 2, "evicted", 8),))
    (ack,) = granted.acks(cloud.send(granted.envelope(EnvelopeType.GAP, gap.encode())))
    assert (ack.watermark, ack.head) == (4, granted.head)
    assert cloud.counters()["lost_evicted"] == 8


def test_an_unknown_clock_waits_and_is_judged_when_an_anchor_comes(cloud: Cloud, granted: Unit) -> None:
    """The envelope is kept sealed and acknowledged; nothing is guessed."""
    granted.wall_ms = 0
    (ack,) = granted.acks(cloud.send(granted.data()))
    assert ack.covers(2)
    assert cloud.events() == []
    assert cloud.counters()["held_no_anchor"] == 1
    granted.wall_ms = NOW_MS
    granted.boot_ms += 60_000
    cloud.clock.ms += 60_000
    granted.wall_ms += 60_000
    cloud.send(granted.data(readings(boot_ms=granted.boot_ms)))
    assert len(cloud.events()) == 2


def test_what_waits_too_long_is_destroyed_and_counted(cloud: Cloud, granted: Unit) -> None:
    """Thirty days, then it is gone."""
    granted.wall_ms = 0
    cloud.send(granted.data())
    cloud.clock.ms += 30 * kit.DAY_MS - 1
    assert cloud.receiver.sweep(cloud.clock.ms) == 0
    cloud.clock.ms += 1
    assert cloud.receiver.sweep(cloud.clock.ms) == 1
    assert cloud.counters()["held_destroyed"] == 1


def test_samples_from_before_the_grant_are_dropped_and_the_rest_goes(cloud: Cloud, unit: Unit) -> None:
    """The capture interval as a whole lies in the grant, or the sample does not leave."""
    cloud.give(given_ms=NOW_MS - 1500, not_before_ms=NOW_MS - 1500, expires_ms=NOW_MS + kit.DAY_MS)
    cloud.send(unit.schema())
    cloud.send(unit.data())
    (event,) = cloud.events()
    assert [c["v"] for c in event["data"]["columns"]] == [[2.0, 3.0], [52.0, 53.0]]
    with cloud.store.transaction() as t:
        assert {(b.path, b.reason, b.samples) for _, b in t.blocks.all()} == {
            (kit.ODOMETER, "time", 2),
            (kit.SPEED, "time", 2),
        }


def test_an_aggregate_that_began_before_the_grant_is_dropped(cloud: Cloud, unit: Unit) -> None:
    """Its capture interval is its whole window: a mean over ten minutes tells about the minutes before the consent."""
    hourly = Transform.parse({"aggregate": {"window_ms": 600_000, "fields": ["mean"]}})
    items = [kit.item(kit.SPEED, transform=hourly.document())]
    offer = kit.offer_bytes(items=items)
    cloud.offers.publish(offer)
    given = NOW_MS - 300_000
    token = sign_record(
        kit.record(offer, optional=(), given_ms=given, not_before_ms=given, expires_ms=NOW_MS + kit.DAY_MS),
        kit.OWNER_KEY.secret,
    )
    cloud.consents.give(token, kit.VEHICLE)
    schema = Schema((replace(column(kit.SPEED, hourly, "km/h"), field="mean"),))
    cloud.send(unit.schema(schema))
    cloud.send(unit.data(Batch(schema, (np.array([3_600_000]),), (np.array([100]),))))
    assert cloud.events() == []
    assert cloud.counters()["blocked_time"] == 1


@pytest.mark.parametrize(
    ("path", "transform", "unit_name", "reason"),
    [
        (kit.SPEED, SPEED, "mph", "schema"),
        ("Vehicle.Cabin.Sunroof.Position", SPEED, "percent", "schema"),
        (kit.SPEED, Transform(interval_ms=100), "km/h", "offer"),
    ],
)
def test_a_lying_unit_cannot_widen_its_columns(
    cloud: Cloud, unit: Unit, path: str, transform: Transform, unit_name: str, reason: str
) -> None:
    """An unknown path, another unit and a finer transform are each denied, whatever the car says."""
    cloud.give()
    schema = Schema((column(path, transform, unit_name),))
    cloud.send(unit.schema(schema))
    cloud.send(unit.data(readings(schema)))
    assert cloud.events() == []
    with cloud.store.transaction() as t:
        assert [b.reason for _, b in t.blocks.all()] == [reason]


def test_an_old_epoch_feeds_no_record(cloud: Cloud, granted: Unit) -> None:
    """Late data of another tenure is nobody's."""
    granted.epoch = 2
    cloud.send(granted.data())
    assert cloud.events() == []
    assert cloud.counters()["blocked_tenure"] == 8


def test_a_check_in_gets_its_nonce_back_and_the_grant_set_it_lacks(cloud: Cloud, unit: Unit) -> None:
    """And nothing that it already has."""
    cloud.give()
    unit.generation = 0
    answers = cloud.send(unit.check_in())
    (ack,) = unit.acks(answers)
    assert ack.nonce == b"n" * 16
    assert (ack.watermark, ack.head) == (0, NO_PREVIOUS)
    (message,) = [m for m in map(unit.open, answers) if isinstance(m, GrantSetMessage)]
    assert kit.RECORD_ID.encode() not in message.grant_set  # the record travels as the owner's token
    unit.generation = 1
    assert len(cloud.send(unit.check_in(b"o" * 16))) == 1


def test_an_envelope_that_shows_the_store_is_behind_silences_its_whole_group(cloud: Cloud, granted: Unit) -> None:
    """Also what came before it: they are judged together, and no event bears a generation that is none any more."""
    first = granted.data()
    granted.generation = 9
    cloud.send(first, granted.data())
    assert cloud.events() == []
    assert cloud.counters()["blocked_unconfirmed"] == 16


def test_an_envelope_whose_schema_was_lost_silences_its_group_too(cloud: Cloud, granted: Unit) -> None:
    """A store that was restored has forgotten just the schemas of the newest grants. What such a box shows is certain
    as soon as it is open: nothing of before leaves while the car is asked for the rest.
    """
    first, lost = granted.data(), Schema((column(kit.SPEED, SPEED, "km/h"),))
    granted.generation = 9
    answers = cloud.send(first, granted.data(readings(lost)))
    assert SchemaRequest((lost.hash,)) in list(map(granted.open, answers))
    assert cloud.events() == []
    assert cloud.counters()["behind_floor"] == 1


@pytest.mark.parametrize("kind", ["schema", "gap"])
def test_every_envelope_shows_whether_the_store_is_behind(cloud: Cloud, granted: Unit, kind: str) -> None:
    """Not only readings: the schema of new grants comes before them."""
    first = granted.data()
    granted.generation = 9
    gap = Gap(granted.stream, (GapRange(90, 90, "evicted", 1),)).encode()
    told = granted.schema() if kind == "schema" else granted.envelope(EnvelopeType.GAP, gap)
    cloud.send(first, told)
    assert cloud.events() == []
    assert cloud.counters()["behind_floor"] == 1


def test_what_is_not_its_units_newest_word_silences_nothing(cloud: Cloud, granted: Unit) -> None:
    """Another hand, another epoch, a number that was taken before, the same bytes after the owner has confirmed."""
    stranger = replace(granted, key=SigningKey.from_seed(b"x" * 32), generation=9)
    cloud.send(stranger.data(), stranger.check_in())
    cloud.send(replace(granted, epoch=2, generation=9).check_in())
    assert "behind_floor" not in cloud.counters()
    granted.generation = 9
    cloud.send(shown := granted.data())
    cloud.consents.confirm(kit.RECORD_ID)
    cloud.send(shown, granted.data())
    assert cloud.counters()["behind_floor"] == 1
    assert len(cloud.events()) == 1
    # two of one number: nobody knows which of them is the car
    cloud.send(replace(granted, seq=granted.seq - 1, generation=99).data())
    assert (cloud.counters()["behind_floor"], cloud.counters()["quarantined_clone"]) == (1, 1)


def test_a_restored_store_that_is_behind_its_cars_sends_nothing(cloud: Cloud, granted: Unit) -> None:
    """A higher generation in a box says that the store was restored: every record of the vehicle is silent."""
    granted.generation = 9
    cloud.send(granted.data())
    assert cloud.events() == []
    assert cloud.counters()["behind_floor"] == 1
    cloud.consents.confirm(kit.RECORD_ID)
    cloud.send(granted.data())
    assert len(cloud.events()) == 1
    with cloud.store.transaction() as t:
        assert t.consents.generation(t.devices.get(granted.device).vehicle, 1) == 10  # type: ignore[union-attr]
