"""Housekeeping: what has ended or waited too long goes although no event says so, and no duty waits for another."""

from __future__ import annotations

import random
from pathlib import Path
from typing import cast

import pytest

from carnet.errors import UnavailableError
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.recipients import Outcome
from carnet_cloud.running.keeper import AT_ONCE, SPELL_MS, Duty, Keeper, duties
from carnet_cloud.store import Transaction
from carnet_cloud.wrapping import ROTATE_MS
from tests import consentkit as kit
from tests.cloud.forwardkit import Listener
from tests.cloud.kit import Cloud, Unit

WINDOW_MS = 60_000


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    unit = Unit()
    cloud.enrol(unit)
    return unit


def duties_of(cloud: Cloud) -> dict[str, Duty]:
    clock = cloud.clock
    return duties(
        cloud.store, cloud.consents, cloud.receiver, cloud.wrapping, clock.now_ms, clock.monotonic_ms,
        random.Random(6).randbytes,
    )  # fmt: skip


def turn(cloud: Cloud) -> None:
    """A turn in which everything goes well."""
    failed: list[tuple[str, Exception]] = []
    Keeper(duties_of(cloud), lambda name, error: failed.append((name, error))).turn()
    assert failed == []


def deliver(cloud: Cloud, outcome: Outcome = Outcome.CONFIRMED) -> None:
    """Hand everything that waits to a recipient with this answer."""
    listener = Listener()
    listener.outcome = outcome
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    ends = {kit.RECIPIENT: listener}
    sender = Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"sender01")
    while sender.step(kit.RECIPIENT):
        pass


def has_key(cloud: Cloud) -> bool:
    with cloud.store.transaction() as t:
        return t.outbox_keys.get(kit.RECORD_ID, kit.RECIPIENT) is not None


def payloads(cloud: Cloud) -> int:
    """How many sealed payloads the store still holds."""
    query = "select count(*) from outbox where payload is not null"
    return int(cloud.ask(query)[0])


# endings that nobody announces


def test_the_key_of_an_expired_record_ends_with_it_although_nothing_waits(cloud: Cloud, unit: Unit) -> None:
    """Law 4: and no rotation wraps it again."""
    cloud.give(expires_ms=cloud.clock.ms + WINDOW_MS)
    cloud.send(unit.schema(), unit.data())
    deliver(cloud)
    turn(cloud)
    assert has_key(cloud)
    cloud.clock.ms += WINDOW_MS
    turn(cloud)
    assert not has_key(cloud)
    assert cloud.wrapping.rotate(cloud.store, cloud.clock.ms) == 0


def test_what_expired_while_it_waited_is_destroyed_though_nobody_takes_it(cloud: Cloud, unit: Unit) -> None:
    """Its recipient is no longer configured, say: no forwarder asks for it."""
    cloud.give(expires_ms=cloud.clock.ms + WINDOW_MS)
    cloud.send(unit.schema(), unit.data(), unit.data())
    cloud.clock.ms += WINDOW_MS
    turn(cloud)
    assert payloads(cloud) == 0
    with cloud.store.transaction() as t:
        assert [delivery.outcome for delivery in t.outbox.deliveries(kit.RECORD_ID)] == ["destroyed"] * 2


def test_a_renewed_record_keeps_its_key_to_its_new_end(cloud: Cloud, unit: Unit) -> None:
    end_ms = cloud.clock.ms + WINDOW_MS
    token = cloud.give(expires_ms=end_ms)
    cloud.send(unit.schema(), unit.data())
    renewed = kit.event("renew", [token], cloud.clock.ms, expires_ms=end_ms + WINDOW_MS)
    cloud.consents.event(renewed, kit.RECORD_ID)
    cloud.clock.ms = end_ms
    turn(cloud)
    assert has_key(cloud)
    assert payloads(cloud) == 1
    cloud.clock.ms += WINDOW_MS
    turn(cloud)
    assert (has_key(cloud), payloads(cloud)) == (False, 0)


def test_endings_are_found_through_an_index_some_at_a_time(cloud: Cloud, unit: Unit) -> None:
    """A store with millions of living grants, or with many that end at once, holds nobody up."""
    cloud.give(expires_ms=cloud.clock.ms + WINDOW_MS)
    cloud.send(unit.schema(), unit.data())
    cloud.clock.ms += WINDOW_MS
    asked: list[str] = []
    database = cloud.store._connection
    database.set_trace_callback(asked.append)
    with cloud.store.transaction() as t:
        assert t.outbox.end_expired(cloud.clock.ms, 0) == 0
        assert t.outbox.end_expired(cloud.clock.ms, 1) == 1
    database.set_trace_callback(None)
    queries = [sql for sql in asked if sql.startswith("select") and "outbox_key" in sql]
    plan = [row[3] for query in queries for row in database.execute(f"explain query plan {query}")]
    assert plan
    assert [step for step in plan if "SCAN" in step] == []


@pytest.mark.parametrize(("took_ms", "times"), [(0, 4), (SPELL_MS // 2, 2)])
def test_a_turn_does_all_there_is_in_small_transactions_and_not_for_ever(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, took_ms: int, times: int
) -> None:
    """The days of a large fleet end at once, and wrapping keys must be changed meanwhile."""
    asked: list[int] = []

    def some(_: Transaction, *given: object) -> int:
        cloud.clock.ms += took_ms
        asked.append(cast("int", given[-1]))
        return AT_ONCE if len(asked) % 4 else AT_ONCE - 1

    for name, duty in (("end_expired", "expired"), ("day_accounts", "accounts"), ("end_windows", "windows")):
        monkeypatch.setattr(f"carnet_cloud.running.keeper.{name}", some)
        asked.clear()
        duties_of(cloud)[duty]()
        assert asked == [AT_ONCE] * times


def test_a_turn_looks_at_no_vehicle_that_was_sold_long_ago(cloud: Cloud, unit: Unit) -> None:
    """Only the hourly one does, in one question: a fleet has hundreds of thousands of them."""
    keeper = Keeper(duties_of(cloud), lambda *_: None)
    keeper.turn()
    asked: list[str] = []
    cloud.store._connection.set_trace_callback(asked.append)
    for minutes, questions in ((1, 0), (59, 1)):
        asked.clear()
        cloud.clock.ms += minutes * 60_000
        keeper.turn()
        about = [sql for sql in asked if "from device" in sql]
        assert len(about) == questions, about


# replay windows


@pytest.mark.parametrize("outcome", [Outcome.CONFIRMED, Outcome.REFUSED, Outcome.RETRY])
def test_what_is_done_is_kept_as_long_as_the_offers_window_and_no_longer(
    cloud: Cloud, unit: Unit, outcome: Outcome
) -> None:
    """Confirmed, refused, or given up after three days."""
    window_ms = 4 * kit.DAY_MS
    offer = kit.offer_bytes(replay_ms=window_ms)
    cloud.offers.publish(offer)
    cloud.consents.give(kit.token(offer), kit.VEHICLE)
    end_ms = cloud.clock.ms + window_ms
    cloud.send(unit.schema(), unit.data())
    deliver(cloud, outcome)
    cloud.clock.ms = end_ms - 1
    deliver(cloud, outcome)
    turn(cloud)
    with cloud.store.transaction() as t:
        assert t.outbox.depth() == {}
    assert payloads(cloud) == 1
    cloud.clock.ms = end_ms
    turn(cloud)
    assert payloads(cloud) == 0
    assert has_key(cloud)


def test_a_window_holds_nothing_that_is_still_to_be_sent(cloud: Cloud, unit: Unit) -> None:
    cloud.give()
    cloud.send(unit.schema(), unit.data())
    cloud.clock.ms += WINDOW_MS
    turn(cloud)
    assert payloads(cloud) == 1


def test_windows_that_have_ended_are_found_through_an_index(cloud: Cloud) -> None:
    """Events are kept for ever."""
    asked: list[str] = []
    database = cloud.store._connection
    database.set_trace_callback(asked.append)
    with cloud.store.transaction() as t:
        t.replays.end_windows(t.replays.windows_over(cloud.clock.ms, 10), cloud.clock.ms)
    database.set_trace_callback(None)
    queries = [sql for sql in asked if sql.startswith("select event_id, record from outbox")]
    steps = [row[3] for query in queries for row in database.execute(f"explain query plan {query}")]
    assert len(steps) == 2
    assert all("USING INDEX" in step for step in steps)


# no duty waits for another


def test_a_duty_that_fails_is_told_and_all_others_are_done(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ending that cannot be finished keeps no wrapping key alive."""

    def fail(*_: object) -> int:
        raise UnavailableError("store_unavailable", "full")

    monkeypatch.setattr(cloud.consents, "finish_endings", fail)
    monkeypatch.setattr(cloud.receiver, "sweep", fail)
    wrapped = cloud.wrapping.wrap(b"k" * 32)
    failed: list[tuple[str, str]] = []
    Keeper(duties_of(cloud), lambda name, error: failed.append((name, str(error)))).turn()
    assert failed == [("endings", "full"), ("held", "full")]
    assert cloud.wrapping.unwrap(*wrapped) is None


def test_the_wrapping_key_changes_at_the_start_and_once_an_hour(cloud: Cloud) -> None:
    """However often the keeper comes round; and after a failure it is tried again at the next turn."""
    keeper = Keeper(duties_of(cloud), lambda *_: None)
    keys = set()
    for _ in range(150):
        keeper.turn()
        keys.add(cloud.wrapping.wrap(b"k" * 32)[1])
        cloud.clock.ms += 60_000
    assert len(keys) == 1 + 149 * 60_000 // ROTATE_MS
