"""Consent against a forwarder at work: withdrawn at any moment of a send, and a store that is down, slow or stale.

Law 3: when the withdrawal has returned, nothing more is written. One thread plays both, so that every schedule repeats.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from carnet.errors import UnavailableError
from carnet.ids import format_id
from carnet.states import EventKind
from carnet_cloud.consents import Consents, Ended, Waits
from carnet_cloud.entries import Entries
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.lease import Lease, LeaseOver, Leases
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.store import Store, Transaction
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit

SCHEDULES = 1000
AT_ONCE = 100
MOMENTS_MAX = 30


@dataclass
class Moments:
    """Every moment at which another thread could come between; at one of them ``do`` is called."""

    at: int = -1
    do: Callable[[], object] = lambda: None
    passed: int = 0

    def come(self) -> None:
        self.passed += 1
        if self.passed - 1 == self.at:
            self.do()


class SlowStore:
    """The store as the forwarder sees it: each transaction takes its time, and others come between them."""

    def __init__(self, store: Store, moments: Moments, wait: Callable[[], None]) -> None:
        self._store, self._moments, self._wait = store, moments, wait

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self._moments.come()
        with self._store.transaction() as t:
            yield t
            self._wait()
        self._moments.come()


@dataclass
class Reader:
    """A recipient that takes an event in several writes."""

    moments: Moments
    wait: Callable[[], None]
    writes: int = 1
    got: Counter[bytes] = field(default_factory=Counter)
    silent_from: int | None = None
    """How many writes there had been when the withdrawal returned."""

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        for _ in range(self.writes):
            self.moments.come()
            try:
                lease.guard()
            except LeaseOver:
                return Outcome.CUT
            self.got[event.event_id] += 1
            self.wait()
        self.moments.come()
        return Outcome.CONFIRMED

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None:
        return


def make_forwarder(cloud: Cloud, store: object, reader: Reader) -> Forwarder:
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    return Forwarder(
        store,  # type: ignore[arg-type]
        {kit.RECIPIENT: reader},
        cloud.wrapping,
        cloud.leases,
        cloud.book.may_send,
        clocks,
        b"sender01",
    )


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    unit = Unit()
    cloud.enrol(unit)
    cloud.send(unit.schema())
    return unit


def play(cloud: Cloud, unit: Unit, number: int) -> bool:
    """One schedule; whether the withdrawal came while something of the record was being written."""
    chance = random.Random(number)
    record = format_id("rec_", chance.randbytes(10))
    token = cloud.give(id=record)
    cloud.send(*(unit.data(records=(record,)) for _ in range(chance.randint(1, 3))))
    moments = Moments(chance.randrange(MOMENTS_MAX))
    reader = Reader(moments, waits(cloud, chance, (0, 3, 90, 260, 410, 700)), chance.randint(1, 4))
    forwarder = make_forwarder(cloud, SlowStore(cloud.store, moments, waits(cloud, chance, (0, 0, 3, 150))), reader)
    ended: list[object] = []

    def withdraw() -> None:
        entry = kit.event("withdraw", [token], cloud.clock.ms, record=record)
        ended.append(cloud.consents.event(entry, record))
        reader.silent_from = reader.got.total()

    moments.do = withdraw
    while forwarder.step(kit.RECIPIENT):
        pass
    interrupted = bool(ended)
    if not interrupted:
        withdraw()
    cloud.clock.ms += 20_000
    forwarder.step(kit.RECIPIENT)
    assert reader.got.total() == reader.silent_from, f"schedule {number}: written after the withdrawal had returned"
    require_account(cloud, record, reader, ended[0])
    return interrupted and bool(reader.got)


def waits(cloud: Cloud, chance: random.Random, choices: tuple[int, ...]) -> Callable[[], None]:
    """Takes one of so many milliseconds."""

    def wait() -> None:
        cloud.clock.ms += chance.choice(choices)

    return wait


def require_account(cloud: Cloud, record: str, reader: Reader, ended: object) -> None:
    """The owner is told of each event what became of it; nothing that was written to is called destroyed unseen."""
    assert isinstance(ended, Ended)
    with cloud.store.transaction() as t:
        outcomes = {d.event_id: d.outcome for d in t.outbox.deliveries(record)}
        assert t.outbox_keys.get(record, kit.RECIPIENT) is None
        assert not t.outbox.in_flight(record, cloud.clock.ms)
    assert set(outcomes.values()) <= {"confirmed", "unknown", "destroyed"}
    assert {event for event, outcome in outcomes.items() if outcome != "destroyed"} >= set(reader.got)


@pytest.mark.parametrize("first", range(0, SCHEDULES, AT_ONCE))
def test_f24_withdrawn_at_any_moment_of_a_send_nothing_is_written_afterwards(
    cloud: Cloud, unit: Unit, first: int
) -> None:
    """A thousand schedules: between any two steps of the forwarder, which may be slow at each of them."""
    interrupted = sum(play(cloud, unit, number) for number in range(first, first + AT_ONCE))
    assert interrupted > AT_ONCE / 4, "the moment hardly ever came while something was sent"


def given(cloud: Cloud, unit: Unit) -> tuple[Reader, Forwarder, str]:
    """A record with an event that waits, and who would send it."""
    token = cloud.give()
    cloud.send(unit.data())
    reader = Reader(Moments(), lambda: None)
    return reader, make_forwarder(cloud, cloud.store, reader), token


def test_f23_a_consent_store_that_is_down_forwards_takes_and_promises_nothing(cloud: Cloud, unit: Unit) -> None:
    """Not a byte to the recipient, no acknowledgement to the car, no 'done' to the owner; then all goes on."""
    reader, forwarder, token = given(cloud, unit)
    late = unit.data()
    entry = kit.event("withdraw", [token], cloud.clock.ms)
    cloud.store._connection.execute("pragma query_only=on")
    for refused in (
        lambda: forwarder.step(kit.RECIPIENT),
        lambda: cloud.send(late),
        lambda: cloud.consents.event(entry, kit.RECORD_ID),
    ):
        with pytest.raises(UnavailableError):
            refused()
    assert not reader.got
    cloud.store._connection.execute("pragma query_only=off")
    assert unit.acks(cloud.send(late))
    while forwarder.step(kit.RECIPIENT):
        pass
    assert reader.got.total() == 2


def test_f23_a_record_that_another_program_ended_is_not_sent_from_memory(cloud: Cloud, unit: Unit) -> None:
    """What was compiled before counts only while the store says the same."""
    reader, forwarder, _ = given(cloud, unit)
    assert forwarder.step(kit.RECIPIENT)
    cloud.send(unit.data())
    pause = Waits(cloud.clock.now_ms, cloud.clock.monotonic_ms, cloud.clock.pause)
    entries = Entries(random.Random(1).randbytes)
    other = Consents(cloud.store, cloud.journal, Leases(), pause, cloud.changed.append, entries)
    other.operate(kit.RECORD_ID, EventKind.REVOKE, "for_a_test")
    cloud.send(unit.data())
    assert not forwarder.step(kit.RECIPIENT)
    assert reader.got.total() == 1
