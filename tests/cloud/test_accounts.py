"""Accounts in the log: they say what recipients confirmed, only grow, and stand still after the end."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carnet.canonical import parse
from carnet.ledger.account import Account, day_of, judge_accounts
from carnet.ledger.leaf import parse_leaf
from carnet_cloud.consents import Ended
from carnet_cloud.forward import GIVE_UP_MS, Clocks, Forwarder
from carnet_cloud.lease import Lease, LeaseOver
from carnet_cloud.ledger.accounts import day_accounts, end_expired
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.statement import statement_of
from tests import consentkit as kit
from tests.cloud.kit import VEHICLE, Cloud, Unit, readings

SAMPLES = 8
"""Of one event of the kit."""


class Listener:
    """A recipient that answers as it is told to; ``during`` runs while a send is in the air."""

    def __init__(self) -> None:
        self.outcome = Outcome.CONFIRMED
        self.during: Callable[[], object] = lambda: None

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        self.during()
        try:
            lease.guard()
        except LeaseOver:
            return Outcome.CUT
        return self.outcome

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None:
        return


class Scene:
    """A given record, its unit and its recipient."""

    def __init__(self, folder: Path) -> None:
        self.cloud, self.unit, self.listener = Cloud(folder), Unit(), Listener()
        self.cloud.enrol(self.unit)
        self.token = self.cloud.give()
        self.cloud.send(self.unit.schema())
        clock = self.cloud.clock
        clocks = Clocks(clock.now_ms, clock.monotonic_ms, lambda: 0.0)
        cloud = self.cloud
        self.forwarder = Forwarder(
            cloud.store, {kit.RECIPIENT: self.listener}, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks,
            b"sender01",
        )  # fmt: skip
        self._random = random.Random(3)

    def deliver(self, count: int = 1, outcome: Outcome = Outcome.CONFIRMED) -> None:
        """So many events, captured now, reach the recipient, who answers like this."""
        self.listener.outcome = outcome
        for _ in range(count):
            self.unit.boot_ms += self.cloud.clock.ms - self.unit.wall_ms
            self.unit.wall_ms = self.cloud.clock.ms
            self.cloud.send(self.unit.data(readings(boot_ms=self.unit.boot_ms)))
        self.forward()

    def forward(self) -> None:
        while self.forwarder.step(kit.RECIPIENT):
            pass

    def happen(self, kind: str, *entries: str) -> object:
        self.cloud.clock.ms += 1000
        return self.cloud.consents.event(kit.event(kind, [self.token, *entries], self.cloud.clock.ms), kit.RECORD_ID)

    def keep(self) -> None:
        """What the keeper does."""
        with self.cloud.store.transaction() as t:
            end_expired(t, self._random.randbytes, self.cloud.clock.ms, 100)
            day_accounts(t, self._random.randbytes, self.cloud.clock.ms, 100)
        self.cloud.sequencer.turns()

    def accounts(self) -> list[Account]:
        """Those in the log, judged as whoever has their receipts would."""
        self.cloud.sequencer.turns()
        with self.cloud.store.transaction() as t:
            leaves = [
                (each.position, parse_leaf(parse(each.document, 9999))) for each in t.ledger.leaves(kit.RECORD_ID)
            ]
        found = [(place or 0, leaf) for place, leaf in leaves if isinstance(leaf, Account)]
        judge_accounts(found)
        assert [account.number for _, account in found] == list(range(1, len(found) + 1))
        return [account for _, account in found]

    def statement(self) -> dict[str, Any]:
        with self.cloud.store.transaction() as t:
            (entry,) = statement_of(t, VEHICLE, {1}, self.cloud.clock.ms)["records"]
        assert isinstance(entry, dict)
        return entry


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_day_has_its_account_when_it_is_over(scene: Scene) -> None:
    """And only if something became of an event on it."""
    scene.deliver(2)
    scene.keep()
    assert scene.accounts() == []
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    (first,) = scene.accounts()
    assert (first.confirmed.events, first.confirmed.samples, first.unknown.events) == (2, 2 * SAMPLES, 0)
    assert first.day == "2025-10-10"
    scene.cloud.clock.ms += 3 * kit.DAY_MS
    scene.keep()
    assert len(scene.accounts()) == 1
    scene.deliver()
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    assert [account.total.events for account in scene.accounts()] == [2, 3]


def test_two_days_have_two_accounts_although_the_keeper_was_late(scene: Scene) -> None:
    scene.deliver()
    scene.cloud.clock.ms += kit.DAY_MS
    scene.deliver()
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    scene.keep()
    scene.keep()
    days = [account.day for account in scene.accounts()]
    assert len(days) == len(set(days)) == 2


def test_a_clock_that_goes_back_repeats_no_day(scene: Scene) -> None:
    """What comes then is in the next account all the same."""
    scene.deliver()
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    scene.cloud.clock.ms -= kit.DAY_MS // 2
    scene.deliver()
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    scene.deliver()
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    assert scene.accounts()[-1].total.events == 3


def test_the_end_has_its_account_in_the_transaction_that_ends(scene: Scene) -> None:
    """What is in flight then is unknown; that it was confirmed later moves it and adds nothing."""
    scene.deliver(2)
    ended: list[object] = []
    scene.listener.during = lambda: ended.append(scene.happen("withdraw")) if not ended else None

    def send(event: Event, lease: Lease, now_s: int) -> Outcome:
        scene.listener.during()
        return Outcome.CONFIRMED

    scene.listener.send = send  # type: ignore[method-assign]
    scene.deliver()
    (result,) = ended
    assert isinstance(result, Ended)
    (end,) = scene.accounts()
    assert (end.ended, end.confirmed.events, end.unknown.events) == ("withdrawing", 2, 1)
    assert scene.statement()["account"]["confirmed"] == {"events": 3, "samples": 3 * SAMPLES}
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    _, late = scene.accounts()
    assert (late.confirmed.events, late.unknown.events) == (3, 0)


def test_what_was_withdrawn_before_it_was_begun_is_taken_back_in_no_account(scene: Scene) -> None:
    """The statement may know better later; what was signed stays."""
    scene.listener.during = lambda: scene.happen("withdraw") if scene.listener.outcome is not Outcome.CUT else None

    def send(event: Event, lease: Lease, now_s: int) -> Outcome:
        scene.happen("withdraw")
        return Outcome.CONFIRMED

    scene.listener.send = send  # type: ignore[method-assign]
    scene.deliver(3)
    entry = scene.statement()
    assert {name: each["events"] for name, each in entry["outcomes"].items()} == {"confirmed": 1, "destroyed": 2}
    assert (entry["account"]["confirmed"]["events"], entry["account"]["unknown"]["events"]) == (1, 2)
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    assert [account.total.events for account in scene.accounts()] == [3, 3]


@pytest.mark.parametrize("late", [Outcome.REFUSED, Outcome.RETRY])
def test_what_may_have_been_read_is_unknown(scene: Scene, late: Outcome) -> None:
    """Refused, or given up after three days."""
    scene.deliver(1, late)
    scene.cloud.clock.ms += GIVE_UP_MS + 1
    scene.forward()
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    account = scene.accounts()[-1]
    assert (account.confirmed.events, account.unknown.events, account.unknown.samples) == (0, 1, SAMPLES)
    assert account.last_event


def test_what_was_tried_under_a_key_that_is_gone_is_of_the_day_on_which_that_is_found(scene: Scene) -> None:
    """A wrapping key was lost; the keeper, which wraps all others anew, finds it."""
    scene.deliver(outcome=Outcome.RETRY)
    cloud = scene.cloud
    (lost,) = cloud.wrapping._folder.glob("*.key")
    cloud.wrapping._make()
    lost.unlink()
    assert cloud.wrapping.rotate(cloud.store, cloud.clock.ms) == 0
    with cloud.store.transaction() as t:
        (told,) = t.outbox.deliveries(kit.RECORD_ID)
    assert (told.outcome, told.time_ms) == ("unknown", cloud.clock.ms)
    today = day_of(cloud.clock.ms)
    cloud.clock.ms += kit.DAY_MS
    scene.keep()
    assert [account.day for account in scene.accounts()] == [today]


def test_a_pause_is_no_end(scene: Scene) -> None:
    scene.deliver()
    scene.happen("pause")
    assert scene.accounts() == []


def test_a_record_that_expires_has_its_end_once(scene: Scene, tmp_path: Path) -> None:
    """Nobody says when it does; and whoever withdraws it afterwards ends it no second time."""
    scene.deliver(1, Outcome.RETRY)
    with scene.cloud.store.transaction() as t:
        stored = t.consents.record(kit.RECORD_ID)
    assert stored is not None
    scene.cloud.clock.ms = stored.expires_ms
    scene.keep()
    scene.keep()
    scene.happen("withdraw")
    (end,) = scene.accounts()
    assert (end.ended, end.unknown.events, end.time_ms) == ("expired", 1, stored.expires_ms)


def test_an_end_without_any_event_is_an_account_of_nothing(scene: Scene) -> None:
    scene.happen("withdraw")
    (end,) = scene.accounts()
    assert (end.total.events, end.last_event) == (0, "")


def test_whatever_happens_accounts_are_one_story_and_say_what_was_confirmed(scene: Scene) -> None:
    """Three weeks of days, outcomes and a withdrawal in the middle of a send, out of one seed."""
    source = random.Random(11)
    for _ in range(40):
        kind = source.choice([Outcome.CONFIRMED, Outcome.CONFIRMED, Outcome.REFUSED, Outcome.RETRY])
        scene.deliver(source.randrange(3), kind)
        scene.cloud.clock.ms += source.choice([1, 6, 25]) * 3_600_000
        if source.random() < 0.7:
            scene.keep()
    scene.listener.during = lambda: scene.happen("withdraw")
    scene.deliver(2)
    scene.cloud.clock.ms += 2 * kit.DAY_MS
    scene.keep()
    accounts = scene.accounts()
    assert len(accounts) > 8
    entry = scene.statement()
    told = {name: each["events"] for name, each in entry["outcomes"].items()}
    assert accounts[-1].confirmed.document() == entry["account"]["confirmed"]
    assert accounts[-1].unknown.document() == entry["account"]["unknown"]
    assert accounts[-1].confirmed.events == told["confirmed"]
    assert accounts[-1].unknown.events >= told.get("refused", 0) + told.get("unknown", 0)


def test_nothing_is_counted_by_reading_what_is_stored(scene: Scene) -> None:
    """An account costs the same after ten years."""
    scene.deliver()
    asked: list[str] = []
    scene.cloud.store._connection.set_trace_callback(asked.append)
    scene.cloud.clock.ms += kit.DAY_MS
    scene.keep()
    scene.cloud.store._connection.set_trace_callback(None)
    assert len(scene.accounts()) == 1
    assert [sql for sql in asked if "delivery" in sql] == []
    queries = [sql for sql in asked if sql.startswith("select") and ("tally" in sql or "from record" in sql)]
    plan = [r[3] for sql in queries for r in scene.cloud.store._connection.execute(f"explain query plan {sql}")]
    assert [step for step in plan if step.startswith("SCAN")] == []
