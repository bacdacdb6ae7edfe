"""When it was captured: the interval that is judged, what has to wait for a better clock, and what a delivery tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carnet.batch import Batch
from carnet.records import sign_record
from carnet.schema import Schema
from carnet.times import UNSURE_MS_MAX, Anchor
from carnet.transforms import Transform
from carnet_cloud.enqueue import Enqueuer
from carnet_cloud.judging import TimeUnknown
from tests import consentkit as kit
from tests.cloud.enqueuekit import BOOT_MS, blocks, boxes, deliveries, enqueue, judge, payloads
from tests.cloud.kit import BOOT, NOW_MS, ODOMETER, SCHEMA, SPEED, Cloud, Unit, column, readings

WINDOW_MS = 600_000
MEAN = Transform.parse({"aggregate": {"window_ms": WINDOW_MS, "fields": ["mean"]}})
MEANS = Schema((replace(column(kit.SPEED, MEAN, "km/h"), field="mean"),))
EDGE_MS = BOOT_MS
"""Of BOOTTIME: where a window ends and the next begins."""
SURE = Anchor(BOOT, BOOT_MS, NOW_MS, NOW_MS)
LATER_MS = NOW_MS + kit.DAY_MS
"""A receipt that narrows nothing."""


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    """One whose schema is known."""
    unit = Unit()
    cloud.enrol(unit)
    cloud.send(unit.schema())
    return unit


def give(cloud: Cloud, from_ms: int = kit.GIVEN_MS) -> None:
    """The example record, which covers captures from this moment on."""
    cloud.give(given_ms=from_ms, not_before_ms=from_ms, expires_ms=from_ms + 20 * kit.DAY_MS)


def give_means(cloud: Cloud, unit: Unit, from_ms: int) -> None:
    """A record for means of speed."""
    offer = kit.offer_bytes(items=[kit.item(kit.SPEED, transform=MEAN.document())])
    record = kit.record(offer, optional=(), given_ms=from_ms, not_before_ms=from_ms, expires_ms=NOW_MS + kit.DAY_MS)
    cloud.offers.publish(offer)
    cloud.consents.give(sign_record(record, kit.OWNER_KEY.secret), kit.VEHICLE)
    cloud.send(unit.schema(MEANS))


def rows(schema: Schema, *groups: list[int]) -> Batch:
    """One column a group, with rows at these moments of BOOTTIME."""
    times = tuple(np.array(each, np.int64) for each in groups)
    return Batch(schema, times, tuple(np.arange(len(each)) for each in groups))


def written(cloud: Cloud) -> tuple[int, ...]:
    """How many rows the tables have that an enqueuing writes into."""
    tables = "outbox", "outbox_key", "delivery", "block", "column_schema"
    return tuple(cloud.ask(f"select count(*) from {table}")[0] for table in tables)


def waits(cloud: Cloud, data: bytes, anchor: Anchor = SURE, received_ms: int = LATER_MS) -> str:
    """Why an envelope has to wait; nothing of it was written, in a transaction that goes on without it."""
    before = written(cloud), cloud.counters()
    with cloud.store.transaction() as t, pytest.raises(TimeUnknown) as unknown:
        enqueue(Enqueuer(cloud.outlet, t), t, data, anchor, received_ms)
    assert (written(cloud), cloud.counters()) == before
    return str(unknown.value)


# what a delivery tells


def test_a_delivery_reaches_from_its_first_capture_to_its_last(cloud: Cloud, unit: Unit) -> None:
    """Over all groups of all boxes, whichever comes first; as wide as the clock is uncertain."""
    give(cloud)
    early, late = BOOT_MS - 90_000, BOOT_MS - 2000
    first = rows(SCHEMA, [BOOT_MS - 50_000, BOOT_MS - 40_000], [early, BOOT_MS - 60_000])
    last = rows(SCHEMA, [BOOT_MS - 30_000, late], [BOOT_MS - 20_000])
    for batches in ((first, last), (last, first)):
        assert judge(cloud, boxes(unit, *batches), SURE, LATER_MS) == 1
    found = {(each.first_ms, each.last_ms) for each in deliveries(cloud)}
    assert found == {(SURE.at(early)[0], SURE.at(late)[1])}


def test_of_what_is_cut_it_reaches_over_what_is_left(cloud: Cloud, unit: Unit) -> None:
    """Of one group two rows lie inside, of the other one all and of a third of them none."""
    give(cloud, from_ms=NOW_MS - 50_000)
    batch = rows(SCHEMA, [BOOT_MS - 80_000, BOOT_MS - 40_000, BOOT_MS - 30_000], [BOOT_MS - 35_000])
    assert judge(cloud, boxes(unit, batch, rows(SCHEMA, [BOOT_MS - 90_000], [])), SURE, LATER_MS) == 1
    (told,) = deliveries(cloud)
    assert (told.first_ms, told.last_ms) == (SURE.at(BOOT_MS - 40_000)[0], SURE.at(BOOT_MS - 30_000)[1])


# aggregates


@pytest.mark.parametrize(
    ("row_ms", "begin_ms"),
    [
        (EDGE_MS, EDGE_MS - WINDOW_MS),
        (EDGE_MS - WINDOW_MS + 1, EDGE_MS - WINDOW_MS),
        (EDGE_MS - WINDOW_MS, EDGE_MS - 2 * WINDOW_MS),
    ],
    ids=["a whole window", "the shortest part of it", "a window earlier"],
)
def test_the_interval_of_an_aggregate_begins_with_its_window(
    cloud: Cloud, unit: Unit, row_ms: int, begin_ms: int
) -> None:
    """From (time - 1) // w * w; a grant that begins a millisecond after the earliest moment of it gets nothing."""
    earliest_ms = SURE.at(begin_ms)[0]
    give_means(cloud, unit, earliest_ms)
    assert judge(cloud, unit.data(rows(MEANS, [row_ms])), SURE, LATER_MS) == 1
    (told,) = deliveries(cloud)
    assert (told.first_ms, told.last_ms) == (earliest_ms, SURE.at(row_ms)[1])


def test_a_window_that_began_a_millisecond_before_the_grant_stays_here(cloud: Cloud, unit: Unit) -> None:
    give_means(cloud, unit, SURE.at(EDGE_MS - WINDOW_MS)[0] + 1)
    assert judge(cloud, unit.data(rows(MEANS, [EDGE_MS])), SURE, LATER_MS) == 0
    assert blocks(cloud) == {(kit.RECORD_ID, kit.SPEED, "time"): 1}


# what waits


def test_without_an_anchor_of_its_boot_an_envelope_waits(cloud: Cloud, unit: Unit) -> None:
    give(cloud)
    assert waits(cloud, unit.data(), replace(SURE, boot_id=b"another!")) == "no_anchor"


def test_what_was_captured_after_the_receipt_waits(cloud: Cloud, unit: Unit) -> None:
    """The clock that says so is wrong; one millisecond later it may be right."""
    give(cloud)
    data, earliest_ms = unit.data(), SURE.at(BOOT_MS)[0]
    assert waits(cloud, data, received_ms=earliest_ms - 1) == "after_receipt"
    assert judge(cloud, data, SURE, earliest_ms) == 1


def test_an_aggregate_that_ends_after_the_receipt_waits_though_it_began_before(cloud: Cloud, unit: Unit) -> None:
    give_means(cloud, unit, kit.GIVEN_MS)
    assert waits(cloud, unit.data(rows(MEANS, [EDGE_MS])), received_ms=NOW_MS - 10_000) == "after_receipt"


@pytest.mark.parametrize("extra_ms", [0, 1], ids=["as unsure as may be", "a millisecond more"])
def test_what_lies_across_an_end_waits_only_for_a_clock_that_may_become_better(
    cloud: Cloud, unit: Unit, extra_ms: int
) -> None:
    """At UNSURE_MS_MAX it is judged as it is, and stays here."""
    give(cloud, from_ms=NOW_MS)
    # an anchor is widened by a millisecond at either end
    wide = Anchor(BOOT, BOOT_MS, NOW_MS - 500, NOW_MS - 500 + UNSURE_MS_MAX - 2 + extra_ms)
    data = unit.data(rows(SCHEMA, [BOOT_MS], []))
    if extra_ms:
        assert waits(cloud, data, wide) == "unsure"
    else:
        assert judge(cloud, data, wide, LATER_MS) == 0
        assert blocks(cloud) == {(kit.RECORD_ID, kit.ODOMETER, "time"): 1}


def test_a_group_is_as_unsure_as_its_least_sure_row(cloud: Cloud, unit: Unit) -> None:
    """Drift makes the row unsure that is far from the anchor; the one across the end waits with it."""
    give(cloud, from_ms=NOW_MS)
    wide = Anchor(BOOT, BOOT_MS, NOW_MS - 500, NOW_MS - 500 + UNSURE_MS_MAX - 2)
    assert waits(cloud, unit.data(rows(SCHEMA, [BOOT_MS - 4000, BOOT_MS], [])), wide) == "unsure"


def test_what_lies_wholly_outside_waits_for_no_clock(cloud: Cloud, unit: Unit) -> None:
    """No better one could bring it inside."""
    give(cloud, from_ms=NOW_MS)
    early = BOOT_MS - kit.DAY_MS // 24
    wide = Anchor(BOOT, BOOT_MS, NOW_MS - 5000, NOW_MS + 5000)
    assert judge(cloud, unit.data(rows(SCHEMA, [early], [BOOT_MS - 100_000])), wide, LATER_MS) == 0
    assert blocks(cloud) == {(kit.RECORD_ID, path, "time"): 1 for path in (kit.ODOMETER, kit.SPEED)}


def test_a_window_across_the_beginning_waits_for_no_clock(cloud: Cloud, unit: Unit) -> None:
    """It began before the grant, however the clock is wrong: the envelope would wait until it is destroyed."""
    wide = Anchor(BOOT, BOOT_MS, NOW_MS - 5000, NOW_MS + 5000)
    give_means(cloud, unit, NOW_MS - WINDOW_MS // 2)
    assert judge(cloud, unit.data(rows(MEANS, [EDGE_MS])), wide, LATER_MS) == 0
    assert blocks(cloud) == {(kit.RECORD_ID, kit.SPEED, "time"): 1}


def test_for_a_group_that_is_refused_as_a_whole_nothing_waits(cloud: Cloud, unit: Unit) -> None:
    """The other one leaves; the unit's clock never has to become better."""
    give(cloud, from_ms=NOW_MS - 100_000)
    partly = Schema((column(kit.ODOMETER, ODOMETER, "km"), column(kit.IGNITION, SPEED, "", 1)))
    cloud.send(unit.schema(partly))
    wide = Anchor(BOOT, BOOT_MS, NOW_MS - 5000, NOW_MS + 5000)
    data = unit.data(rows(partly, [BOOT_MS - 50_000], [BOOT_MS - 100_000]))
    assert judge(cloud, data, wide, LATER_MS) == 1
    assert blocks(cloud) == {(kit.RECORD_ID, kit.IGNITION, "offer"): 1}


def test_an_envelope_that_waits_has_written_nothing(cloud: Cloud, unit: Unit) -> None:
    """Whatever of it was judged before: a box that is cut, a record that may have it, one that may not."""
    give(cloud, from_ms=NOW_MS)
    cloud.consents.give(kit.token(id=kit.OTHER_RECORD_ID), kit.VEHICLE)
    partly = Schema((column(kit.ODOMETER, ODOMETER, "km"), column(kit.IGNITION, SPEED, "", 1)))
    cloud.send(unit.schema(partly))
    cut = readings(partly, boot_ms=BOOT_MS - 60_000)
    wide = Anchor(BOOT, BOOT_MS, NOW_MS - 5000, NOW_MS + 5000)
    data = boxes(unit, cut, readings(), records=(kit.OTHER_RECORD_ID, kit.RECORD_ID))
    assert waits(cloud, data, wide) == "unsure"
    assert judge(cloud, data, replace(SURE, earliest_ms=NOW_MS + 2500, latest_ms=NOW_MS + 2500), LATER_MS) == 2
    assert len(payloads(cloud)) == 2
