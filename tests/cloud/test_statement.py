"""The statement says of every path what its recipient can count, when it was captured, and when the consent began and
ended.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carnet.batch import Batch
from carnet.cli.show import record_line
from carnet.cli.statement import statement_lines
from carnet.errors import ConsentError
from carnet.states import EventKind
from carnet_cloud.lease import Lease
from carnet_cloud.spans import Span, Tally, read, write
from carnet_cloud.statement import records_of, statement_of
from tests import consentkit as kit
from tests.cloud.kit import NOW_MS, SCHEMA, VEHICLE, Cloud, Unit, readings


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.enrol(Unit())
    return cloud


def statement(cloud: Cloud) -> dict[str, Any]:
    with cloud.store.transaction() as t:
        return statement_of(t, VEHICLE, {1}, cloud.clock.ms)


def confirm_all(cloud: Cloud) -> list[dict[str, Any]]:
    """What a recipient that confirms everything gets."""
    events = cloud.events()
    ids = [bytes.fromhex(event["id"]) for event in events]
    with cloud.store.transaction() as t:
        t.outbox.lease(ids, b"owner", cloud.clock.ms + 400)
        t.outbox.confirm(ids, b"owner", cloud.clock.ms)
    return events


def uneven(boot_ms: int) -> Batch:
    """Four rows of the odometer a minute apart, three of the speed a second apart."""
    times = (np.arange(4) * 60_000 + boot_ms - 180_000, np.arange(3) * 1000 + boot_ms - 2000)
    return Batch(SCHEMA, tuple(each.astype(np.int64) for each in times), (np.arange(4), np.arange(3)))


def test_of_every_path_the_statement_says_what_its_recipient_counted_and_when_it_was_captured(cloud: Cloud) -> None:
    """Per path and to the uncertainty of the clock: not as wide as the whole event."""
    cloud.give()
    unit = Unit()
    cloud.send(unit.schema(), unit.data(uneven(3_600_000)), unit.data(uneven(3_200_000)))
    events = confirm_all(cloud)
    counts: Counter[str] = Counter()
    captured: dict[str, list[tuple[int, int]]] = {}
    for event in events:
        for column in event["data"]["columns"]:
            counts[column["path"]] += len(column["v"])
            captured.setdefault(column["path"], []).extend((t, column["uncertainty_ms"]) for t in column["t_ms"])
    confirmed = statement(cloud)["records"][0]["outcomes"]["confirmed"]
    assert confirmed["paths"] == dict(counts) == {kit.ODOMETER: 8, kit.SPEED: 6}
    assert (confirmed["events"], confirmed["samples"]) == (2, 14)
    for path, times in captured.items():
        (first, before), (last, after) = min(times), max(times)
        told = confirmed["captured"][path]
        assert first - before - 1 <= told["first_ms"] <= first
        assert last <= told["last_ms"] <= last + after + 1
    apart = confirmed["captured"][kit.SPEED]["first_ms"] - confirmed["captured"][kit.ODOMETER]["first_ms"]
    assert abs(apart - 178_000) < 200


def test_samples_outside_the_consent_widen_no_span(cloud: Cloud) -> None:
    """Of four captured across its beginning the two after it count."""
    cloud.give(given_ms=NOW_MS - 1500, not_before_ms=NOW_MS - 1500)
    unit = Unit()
    cloud.send(unit.schema(), unit.data(readings()))
    confirm_all(cloud)
    confirmed = statement(cloud)["records"][0]["outcomes"]["confirmed"]
    assert confirmed["paths"] == {kit.ODOMETER: 2, kit.SPEED: 2}
    assert all(each["first_ms"] >= NOW_MS - 1500 for each in confirmed["captured"].values())


def test_a_delivery_from_before_is_still_added_up() -> None:
    """Its times were kept for the whole event."""
    assert read('{"Vehicle.Speed": 3}', 5, 9) == [Span(5, 9, {"Vehicle.Speed": 3})]
    spans = [Span(1, 2, {"Vehicle.Speed": 3}), Span(2, 4, {"Vehicle.A": 1, "Vehicle.B": 2})]
    assert read(write(Tally.of(spans)), 0, 0) == spans
    each = [Tally.of([span]) for span in spans]
    assert Tally.together(each) == Tally.of(spans)


@pytest.mark.parametrize("kinds", [(), ("pause",), ("pause", "resume")])
def test_a_record_that_lives_has_not_ended(cloud: Cloud, kinds: tuple[str, ...]) -> None:
    entries = [cloud.give()]
    for kind in kinds:
        cloud.clock.ms += 1000
        entries.append(kit.event(kind, entries, cloud.clock.ms))
        cloud.consents.event(entries[-1], kit.RECORD_ID)
    (record,) = statement(cloud)["records"]
    times = (record["given_ms"], record["expires_ms"], record["ended_ms"])
    assert times == (kit.GIVEN_MS, kit.GIVEN_MS + 30 * kit.DAY_MS, None)


def test_a_withdrawn_record_ended_when_the_owner_withdrew(cloud: Cloud) -> None:
    """Not when its recipient had become silent, which is an event after it."""
    entries = [cloud.give()]
    cloud.clock.ms += 7000
    withdrawn_ms = cloud.clock.ms
    # a send is in the air, so that silence takes its time
    lease = Lease(b"e" * 16, kit.RECORD_ID, cloud.clock.monotonic_ms(), cloud.clock.monotonic_ms, lambda: True, 2**52)
    cloud.leases.add([lease])
    cloud.leases.begin(lease)
    cloud.consents.event(kit.event("withdraw", entries, cloud.clock.ms), kit.RECORD_ID)
    assert cloud.clock.ms > withdrawn_ms
    cloud.clock.ms += 7000
    (record,) = statement(cloud)["records"]
    assert (record["state"], record["ended_ms"]) == ("withdrawn", withdrawn_ms)


@pytest.mark.parametrize("kind", [EventKind.REVOKE, EventKind.TERMINATE, EventKind.INVALIDATE])
def test_a_record_that_the_operator_ended_says_when(cloud: Cloud, kind: EventKind) -> None:
    cloud.give()
    cloud.clock.ms += 7000
    ended_ms = cloud.clock.ms
    cloud.consents.operate(kit.RECORD_ID, kind, "for_a_test")
    cloud.clock.ms += 7000
    (record,) = statement(cloud)["records"]
    assert record["ended_ms"] == ended_ms


def test_an_expired_record_ended_at_its_end(cloud: Cloud) -> None:
    cloud.give()
    cloud.clock.ms += 90 * kit.DAY_MS
    (record,) = statement(cloud)["records"]
    assert (record["state"], record["ended_ms"]) == ("expired", kit.GIVEN_MS + 30 * kit.DAY_MS)
    with pytest.raises(ConsentError):
        cloud.consents.give(kit.token(id=kit.OTHER_RECORD_ID), kit.VEHICLE)


@pytest.mark.parametrize("stale", [False, True], ids=["the owner's event", "one after an old history"])
def test_what_a_restored_store_had_forgotten_is_still_the_owners_own_withdrawal(cloud: Cloud, stale: bool) -> None:
    """The operator writes it again from the journal, and nobody is told that it was he who ended it."""
    token = cloud.give()
    if stale:
        cloud.consents.event(kit.event("pause", [token], cloud.clock.ms), kit.RECORD_ID)
    backup = sqlite3.connect(":memory:", check_same_thread=False)
    cloud.store._connection.backup(backup)
    cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms), kit.RECORD_ID)
    backup.backup(cloud.store._connection)
    assert cloud.consents.replay_journal() == 1
    cloud.consents.finish_endings()
    with cloud.store.transaction() as t:
        (answer,) = cloud.explain(t, VEHICLE, kit.SPEED, cloud.clock.ms)
        (listed,) = records_of(t, VEHICLE, {1}, cloud.clock.ms)
    assert answer.verdict == "owner"
    for told in (statement(cloud)["records"][0], listed):
        assert (told["state"], told["narrowed_by"]) == ("revoked", "owner")
    assert " withdrawn " in record_line(listed, None)
    assert " withdrawn " in next(statement_lines(statement(cloud)))
