"""Boxes sealed to a recipient: judged by what is declared, whole or not at all, and sent on as they came."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carnet.batch import Batch
from carnet.codec import encode
from carnet.down import Refusal
from carnet.ids import parse_id
from carnet.keys import BoxKey
from carnet.schema import Schema
from carnet.sealed import seal_body
from carnet.sealedevents import Opener
from carnet_cloud.statement import statement_of
from tests import consentkit as kit
from tests.cloud.kit import BOOT, NOW_MS, ODOMETER, VEHICLE, Cloud, Unit, column, readings

OFFER = kit.offer_bytes(**kit.sealed_to())
KEY, OTHER = kit.RECIPIENT_KEY, BoxKey.from_seed(b"\x07" * 32)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    """One whose owner has said yes to the offer with a key, and whose schema is known."""
    unit = Unit()
    cloud.enrol(unit)
    cloud.offers.publish(OFFER)
    cloud.consents.give(kit.token(OFFER), kit.VEHICLE)
    cloud.send(unit.schema())
    return unit


def sealed(batch: Batch | None = None, key: BoxKey = KEY, record: str = kit.RECORD_ID) -> bytes:
    return seal_body(batch or readings(), key.public, parse_id(record, "rec_"), BOOT, b"e" * 32)


def blocked(cloud: Cloud) -> dict[tuple[str, str], int]:
    """(path, reason) -> samples, as the owner sees them."""
    with cloud.store.transaction() as t:
        return {(b.path, b.reason): b.samples for b in t.blocks.of(VEHICLE)}


def statement(cloud: Cloud) -> dict[str, Any]:
    with cloud.store.transaction() as t:
        (record,) = statement_of(t, VEHICLE, {1}, NOW_MS)["records"]
        return dict(record)


def test_the_event_is_the_body_as_it_came_and_what_is_needed_to_read_it(cloud: Cloud, unit: Unit) -> None:
    body = sealed()
    (ack,) = unit.acks(cloud.send(unit.data(body=body)))
    assert ack.covers(2)
    (event,) = cloud.events()
    assert event["type"] == "carnet.sealed.v1"
    (piece,) = event["data"]["sealed"]
    assert base64.b64decode(piece["body"]) == body
    assert (piece["kid"], len(piece["schema"]["columns"])) == (KEY.kid.hex(), 2)
    assert event["data"]["reference"] == "Auftrag 4711"


def test_opened_it_is_the_event_that_an_open_box_would_have_made(tmp_path: Path, cloud: Cloud, unit: Unit) -> None:
    cloud.send(unit.data(body=sealed()))
    (event,) = cloud.events()
    opened = json.loads(Opener((KEY,)).open(json.dumps(event).encode()))
    plain, open_unit = Cloud(tmp_path / "plain"), Unit()
    plain.enrol(open_unit)
    plain.give()
    plain.send(open_unit.schema())
    plain.send(open_unit.data())
    assert [opened] == plain.events()


def test_the_statement_counts_what_was_declared_and_says_so(cloud: Cloud, unit: Unit) -> None:
    cloud.send(unit.data(body=sealed()))
    told = statement(cloud)
    assert told["sealed_to"] == KEY.kid.hex()
    queued = told["outcomes"]["queued"]
    assert queued["paths"] == {kit.ODOMETER: 4, kit.SPEED: 4}
    assert queued["samples"] == 8
    assert NOW_MS - 3100 < queued["first_ms"] <= NOW_MS - 3000
    assert NOW_MS - 100 < queued["last_ms"] <= NOW_MS


def test_the_statement_of_an_open_record_says_that_the_cloud_reads_it(cloud: Cloud) -> None:
    cloud.enrol(Unit())
    cloud.give()
    assert statement(cloud)["sealed_to"] is None


@pytest.mark.parametrize("body", [encode(readings()), sealed(key=OTHER)], ids=["open", "sealed to another key"])
def test_a_box_that_others_can_open_is_denied(cloud: Cloud, unit: Unit, body: bytes) -> None:
    """Whoever has sent it has broken the owner's word already; it goes no further."""
    cloud.send(unit.data(body=body))
    assert cloud.events() == []
    assert blocked(cloud) == {(kit.ODOMETER, "seal"): 4, (kit.SPEED, "seal"): 4}
    assert cloud.counters()["blocked_seal"] == 8


def test_a_box_is_denied_that_is_sealed_where_the_owner_has_not_agreed_to_it(tmp_path: Path) -> None:
    """What the cloud may judge sample by sample is not hidden from it."""
    cloud, unit = Cloud(tmp_path), Unit()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema())
    cloud.send(unit.data(body=sealed()))
    assert cloud.events() == []
    assert cloud.counters()["blocked_seal"] == 8


def test_with_one_column_that_was_not_granted_nothing_goes_and_each_says_why(cloud: Cloud, unit: Unit) -> None:
    schema = Schema((column(kit.ODOMETER, ODOMETER, "km"), column(kit.SPEED, ODOMETER, "km/h", 1)))
    cloud.send(unit.schema(schema))
    batch = readings(schema)
    cloud.send(unit.data(batch, body=sealed(batch)))
    assert cloud.events() == []
    assert blocked(cloud) == {(kit.ODOMETER, "seal"): 4, (kit.SPEED, "offer"): 4}


def test_a_column_of_which_no_sample_is_declared_keeps_nothing_back(cloud: Cloud, unit: Unit) -> None:
    schema = Schema((column(kit.ODOMETER, ODOMETER, "km"), column(kit.SPEED, ODOMETER, "km/h", 1)))
    cloud.send(unit.schema(schema))
    full, none = readings(schema), np.array([], np.int64)
    batch = Batch(schema, (full.times[0], none), (full.values[0], none))
    cloud.send(unit.data(batch, body=sealed(batch)))
    assert len(cloud.events()) == 1
    assert statement(cloud)["outcomes"]["queued"]["paths"] == {kit.ODOMETER: 4}


def test_what_reaches_over_an_end_of_the_grant_is_denied_whole(cloud: Cloud, unit: Unit) -> None:
    """Of an open box half would have gone."""
    unit.wall_ms = kit.GIVEN_MS + 1500
    cloud.send(unit.data(body=sealed()))
    assert cloud.events() == []
    assert blocked(cloud) == {(kit.ODOMETER, "time"): 4, (kit.SPEED, "time"): 4}


def test_it_waits_for_its_time_like_any_other(cloud: Cloud, unit: Unit) -> None:
    unit.wall_ms = 0
    cloud.send(unit.data(body=sealed()))
    assert cloud.events() == []
    unit.wall_ms = NOW_MS
    cloud.send(unit.check_in())
    assert len(cloud.events()) == 1


def test_with_an_uncertain_clock_across_an_end_it_waits_whole(cloud: Cloud, unit: Unit) -> None:
    unit.wall_ms, unit.uncertainty_ms = kit.GIVEN_MS + 1500, 60_000
    cloud.send(unit.data(body=sealed()))
    assert cloud.counters()["held_unsure"] == 1
    unit.wall_ms, unit.uncertainty_ms = kit.GIVEN_MS + 50_000, 20
    cloud.send(unit.check_in())
    assert len(cloud.events()) == 1


def test_one_that_names_two_records_is_refused_for_good(cloud: Cloud, unit: Unit) -> None:
    records = (kit.RECORD_ID, kit.OTHER_RECORD_ID)
    answers = [unit.open(p) for p in cloud.send(unit.data(body=sealed(), records=records))]
    assert [each.reason for each in answers if isinstance(each, Refusal)] == ["sealed_records"]


@pytest.mark.parametrize(("body", "reason"), [(sealed()[:-1], "sealed_size"), (b"\2" + KEY.kid, "varint_malformed")])
def test_one_that_cannot_be_read_is_refused_for_good(cloud: Cloud, unit: Unit, body: bytes, reason: str) -> None:
    answers = [unit.open(p) for p in cloud.send(unit.data(body=body))]
    assert [each.reason for each in answers if isinstance(each, Refusal)] == [reason]
    assert cloud.events() == []


def test_after_the_withdrawal_the_outbox_has_nothing_of_it(cloud: Cloud, unit: Unit) -> None:
    cloud.send(unit.data(body=sealed()))
    cloud.consents.event(kit.event("withdraw", [kit.token(OFFER)], NOW_MS), kit.RECORD_ID)
    assert cloud.events() == []
    assert not cloud.ask("select sum(length(payload)) from outbox")[0]
