"""A unit that lies within the limits of the format: it may harm its own data, never the receiver or another car."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from carnet.batch import Batch
from carnet.bodies import Gap, GapRange
from carnet.box import Place, Prelude, seal_box
from carnet.down import Refusal
from carnet.envelope import NO_PREVIOUS, Header, sign_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import ConsentError, UnavailableError
from carnet.ids import format_id, parse_id
from carnet.keys import SigningKey
from carnet.limits import NUMBER_MAX
from carnet.schema import Column, Schema
from carnet.topics import topic_up
from carnet_cloud.boxes import read_boxes
from carnet_cloud.core import BOXES_AT_ONCE, HELD_MAX, STREAMS_MAX, Receiver
from tests import consentkit as kit
from tests.cloud.kit import NOW_MS, SEAL, SPEED, Cloud, Unit, column, readings

OTHER = bytes(range(50, 66))


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def liar(cloud: Cloud) -> Unit:
    """Enrolled, with a schema sent and a record given."""
    unit = Unit()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema())
    return unit


@pytest.fixture
def honest(cloud: Cloud) -> Unit:
    """Another car's unit."""
    unit = Unit(device=OTHER, key=SigningKey.from_seed(b"h" * 32))
    cloud.enrol(unit)
    return unit


def refused(unit: Unit, payloads: list[bytes]) -> Refusal:
    (found,) = [message for message in map(unit.open, payloads) if isinstance(message, Refusal)]
    return found


def lost(unit: Unit, first: int, last: int, samples: int, count: int = 1) -> bytes:
    ranges = tuple(GapRange(first + 2 * n, last + 2 * n, "evicted", samples) for n in range(count))
    return unit.envelope(EnvelopeType.GAP, Gap(unit.stream, ranges).encode())


def test_losses_that_overflow_every_counter_stop_nobody(cloud: Cloud, liar: Unit, honest: Unit) -> None:
    """Two gaps of 2^63 samples in one group: the counter stops at its largest number, the group is taken."""
    gaps = [lost(liar, 10, 10, NUMBER_MAX, 1024), lost(liar, 5000, 5000, NUMBER_MAX, 1024)]
    messages = [(topic_up(liar.device), gap) for gap in gaps] + [(topic_up(OTHER), honest.schema())]
    assert len(cloud.receiver.process(messages, NOW_MS)) == 2
    assert len(cloud.send(lost(liar, 9000, 9000, NUMBER_MAX, 1024))) == 1
    assert cloud.counters()["lost_evicted"] == NUMBER_MAX


def test_a_message_that_nobody_thought_of_takes_no_other_with_it(
    cloud: Cloud, liar: Unit, honest: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug that one message meets rolls back that message alone; the others of its group are acknowledged."""
    take = Receiver._note

    def buggy(self: Receiver, t: object, arrived: object, *rest: object) -> None:
        if arrived.device.device == liar.device:  # type: ignore[attr-defined]
            raise RecursionError
        take(self, t, arrived, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Receiver, "_note", buggy)
    poison = liar.schema()
    messages = [(topic_up(OTHER), honest.schema()), (topic_up(liar.device), poison), (topic_up(OTHER), honest.schema())]
    answers = cloud.receiver.process(messages, NOW_MS)
    acks = honest.acks([payload for topic, payload in answers if topic.startswith("carnet/1/32")])
    assert all(any(ack.covers(seq) for ack in acks) for seq in (1, 2))
    assert cloud.counters()["failed_unexpected"] == 1


def test_a_full_disk_is_nobodys_fault(cloud: Cloud, liar: Unit) -> None:
    """Nothing is taken, nothing is set aside, and it comes again."""
    with cloud.store._turn:
        pages = cloud.store._connection.execute("pragma page_count").fetchone()[0]
        cloud.store._connection.execute(f"pragma max_page_count={pages}")
    rows = [liar.data() for _ in range(50)]
    with pytest.raises(UnavailableError):
        cloud.send(*rows)
    with cloud.store._turn:
        cloud.store._connection.execute("pragma max_page_count=1000000")
    assert "failed_unexpected" not in cloud.counters()
    (ack,) = liar.acks(cloud.send(*rows))
    assert ack.watermark == liar.seq


def test_streams_that_begin_in_the_middle_are_counted_too(cloud: Cloud, liar: Unit) -> None:
    """A hole at number 1 keeps the watermark at 0, not the stream out of the count."""
    for number in range(STREAMS_MAX + 2):
        liar.stream, liar.seq, liar.head = number.to_bytes(8, "big"), 1, b"x" * 32
        cloud.send(liar.schema())
    with cloud.store.transaction() as t:
        assert t.streams.count(liar.device) == STREAMS_MAX
    assert cloud.counters()["deferred_streams_excess"] == 3


def test_invented_records_and_paths_make_no_rows(cloud: Cloud, liar: Unit) -> None:
    """What was blocked is counted under names that the cloud knows."""
    columns = tuple(Column(f"Vehicle.Private.b.d.M.S{n}", "km", "int", "1", "0", SPEED, 0) for n in range(50))
    schema = Schema(columns)
    records = tuple(format_id("rec_", random.Random(n).randbytes(10)) for n in range(60))
    cloud.send(liar.schema(schema))
    cloud.send(liar.data(readings(schema), records=records))
    with cloud.store.transaction() as t:
        (block,) = [block for _, block in t.blocks.all()]
    assert (block.record, block.path, block.samples) == ("", "", 60 * 50 * 4)


def test_too_many_questions_in_one_envelope_are_refused(cloud: Cloud, liar: Unit) -> None:
    """4,096 columns under 64 records: one small envelope must not keep the store from an owner's withdrawal."""
    schema = Schema(tuple(column(f"Vehicle.Private.b.d.M.S{n}", SPEED, "km") for n in range(4096)))
    records = tuple(format_id("rec_", random.Random(n).randbytes(10)) for n in range(64))
    cloud.send(liar.schema(schema))
    refusal = refused(liar, cloud.send(liar.data(readings(schema, count=1), records=records)))
    assert refusal.reason == "envelope_cost"


def test_what_waits_for_its_time_has_an_end(cloud: Cloud, liar: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many the device keeps its rows itself: neither acknowledged nor refused."""
    monkeypatch.setattr("carnet_cloud.core.HELD_MAX", 3)
    assert HELD_MAX > 3
    liar.wall_ms = 0
    for _ in range(3):
        assert len(cloud.send(liar.data())) == 1
    assert cloud.send(liar.data()) == []
    assert cloud.counters()["deferred_held_excess"] == 1


def test_a_check_in_that_brings_the_time_releases_what_waits(cloud: Cloud, liar: Unit) -> None:
    """Or rows sent before the first answer waited thirty days and were destroyed."""
    liar.wall_ms = 0
    cloud.send(liar.data())
    liar.wall_ms = NOW_MS
    cloud.send(liar.check_in())
    assert len(cloud.events()) == 1


def test_more_than_a_page_of_waiting_envelopes_is_released_at_once(
    cloud: Cloud, liar: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None stays behind, and none calls for the others again."""
    monkeypatch.setattr("carnet_cloud.core.HELD_AT_ONCE", 4)
    liar.wall_ms = 0
    cloud.send(*(liar.data() for _ in range(30)))
    liar.wall_ms = NOW_MS
    cloud.send(liar.data())
    assert len(cloud.events()) == 31


def test_a_thousand_flipping_clocks_do_not_call_one_another(cloud: Cloud, liar: Unit) -> None:
    """Each waiting envelope claims the narrowest clock at its own time; judging them again must not go round."""
    hour = 3_600_000
    for number in range(40):
        liar.boot_ms = hour * (number + 1)
        liar.wall_ms, liar.uncertainty_ms = NOW_MS, 50_000
        cloud.send(liar.data(readings(boot_ms=liar.boot_ms)))
    cloud.consents.event(kit.event("withdraw", [kit.token()], NOW_MS), kit.RECORD_ID)
    liar.uncertainty_ms = 10
    assert len(cloud.send(liar.data(readings(boot_ms=liar.boot_ms)))) == 1
    assert cloud.counters().get("failed_unexpected", 0) == 0


def test_clocks_of_invented_boots_have_an_end(cloud: Cloud, liar: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A boot id is free to invent; only so many clocks are kept."""
    monkeypatch.setattr("carnet_cloud.store.streams.ANCHORS_KEEP", 5)
    for number in range(12):
        liar.boot = number.to_bytes(8, "big")
        cloud.send(liar.check_in())
    assert cloud.store._connection.execute("select count(*) from anchor").fetchone()[0] == 5


def test_named_gaps_go_when_the_watermark_has_passed_them(cloud: Cloud, liar: Unit) -> None:
    """A range over everything moves the watermark to its end and leaves nothing behind."""
    (ack,) = liar.acks(cloud.send(lost(liar, 1, NUMBER_MAX, 0)))
    assert ack.watermark == NUMBER_MAX
    assert cloud.store._connection.execute("select count(*) from named_gap").fetchone()[0] == 0


def test_more_records_than_a_car_can_be_told_of_are_refused_when_given(cloud: Cloud, liar: Unit) -> None:
    """The 65th would make a set that no message holds: no check-in of that car could be answered any more."""
    for number in range(63):
        cloud.give(id=format_id("rec_", random.Random(number).randbytes(10)))
    with pytest.raises(ConsentError, match="as many records"):
        cloud.give(id=format_id("rec_", random.Random(99).randbytes(10)))
    assert len(cloud.send(liar.check_in())) == 2


def test_two_megabytes_from_every_small_box_are_never_in_memory_at_once(
    cloud: Cloud, liar: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes are read a few at a time, whatever the group holds."""
    sizes: list[int] = []

    def watched(boxes: list[object]) -> object:
        sizes.append(len(boxes))
        return read_boxes(boxes)  # type: ignore[arg-type]

    monkeypatch.setattr("carnet_cloud.core.read_boxes", watched)
    cloud.send(*(many_boxes(liar, 12) for _ in range(4)))
    assert sizes == [12, 12, 12, 12]
    assert max(sizes) <= BOXES_AT_ONCE


def many_boxes(unit: Unit, count: int) -> bytes:
    """One data envelope with ``count`` equal boxes."""
    from carnet.codec import encode
    from carnet.envelope import parse_envelope

    batch: Batch = readings()
    unit.seq += 1
    cut = unit.seq.to_bytes(8, "big")
    header = Header(EnvelopeType.DATA, unit.device, unit.stream, unit.seq, cut, unit.key.kid, unit.head or NO_PREVIOUS)
    boxes = []
    for index in range(count):
        place = Place(EnvelopeType.DATA, index, unit.device, unit.stream, cut, unit.key.kid, SEAL.kid)
        prelude = Prelude(
            1, 1, b"bootboot", unit.boot_ms, unit.wall_ms, 20,
            schema_hash=batch.schema.hash, records=(parse_id(kit.RECORD_ID, "rec_"),),
        )  # fmt: skip
        boxes.append((SEAL.kid, seal_box(prelude, encode(batch), SEAL.public, place, bytes([index]) * 32)))
    data = sign_envelope(header, boxes, unit.key)
    unit.head = parse_envelope(data).manifest_hash
    return data


def test_an_error_of_the_database_says_nothing_of_the_data(cloud: Cloud) -> None:
    """A counter that cannot be written is the store's trouble, told as such."""
    with pytest.raises(UnavailableError), cloud.store.transaction():
        raise sqlite3.OperationalError("disk I/O error")
