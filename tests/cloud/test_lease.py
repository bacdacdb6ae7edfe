"""A lease is a right to write that ends by itself: nobody who waits it out is written past."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from carnet.ids import format_id
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.lease import LEASE_MS, Lease, LeaseOver, Leases
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.store import Store, Transaction
from tests import consentkit as kit
from tests.cloud.kit import Clock, Cloud, Unit, readings

SCHEDULES, STEPS = 300, 30
PAUSES_MS = (*[1] * 8, *[30] * 4, 190, 210, 390)
"""How long a program is kept waiting: mostly a moment, now and then about as long as a lease may be used, or lasts."""


class Renewal:
    """A lease over a clock that moves by ``takes_ms`` in each renewal, which tells the store the time it began."""

    def __init__(self, takes_ms: int, ends_ms: float = math.inf) -> None:
        self.clock = Clock(0)
        self.takes_ms = takes_ms
        self.lease = Lease(b"event", "rec", 0, self.clock.monotonic_ms, self._renew, ends_ms)
        self.clock.ms = LEASE_MS - 1

    def _renew(self) -> bool:
        self.clock.ms += self.takes_ms
        return True


def test_a_renewal_that_comes_back_within_its_term_lets_the_sender_write() -> None:
    Renewal(LEASE_MS - 1).lease.guard()


@pytest.mark.parametrize("takes_ms", [LEASE_MS, LEASE_MS + 1, 10 * LEASE_MS])
def test_a_renewal_that_took_longer_than_its_term_lets_nothing_be_written(takes_ms: int) -> None:
    with pytest.raises(LeaseOver):
        Renewal(takes_ms).lease.guard()


def test_a_record_that_expires_while_its_lease_is_renewed_is_over() -> None:
    with pytest.raises(LeaseOver):
        Renewal(10, ends_ms=LEASE_MS + 9).lease.guard()
    Renewal(10, ends_ms=LEASE_MS + 10).lease.guard()


# two programs on one store, of which neither can cut the other's leases


class Steps:
    """The one clock, and every place where a program may be kept waiting: at its ``at``-th the other one runs.

    Nothing else is to be tried: what a sender does while the other withdraws and waits is done before that returns.
    """

    def __init__(self, clock: Clock, at: int, random: Random, other: Callable[[], object]) -> None:
        self._clock, self._at, self._random, self._other = clock, at, random, other
        self._taken = 0

    def step(self) -> None:
        self._taken += 1
        self._clock.ms += self._random.choice(PAUSES_MS)
        if self._taken == self._at:
            self._other()


class Turns:
    """The store as one program has it: it waits for its turn before a transaction, and perhaps behind it."""

    def __init__(self, store: Store, step: Callable[[], None]) -> None:
        self._store, self._step = store, step

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self._step()
        with self._store.transaction() as t:
            yield t
        self._step()


class Pieces:
    """A recipient that takes each event in five writes. Between guard and write nobody may come: that one write is the
    limit that `carnet_cloud.lease` names.
    """

    def __init__(self) -> None:
        self.step: Callable[[], None] = lambda: None
        self.writes = self.writes_after = 0
        self.is_withdrawn = False

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        try:
            for _ in range(5):
                self.step()
                lease.guard()
                self.writes += 1
                self.writes_after += self.is_withdrawn
        except LeaseOver:
            return Outcome.CUT
        return Outcome.CONFIRMED

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None:
        return


def run_two(cloud: Cloud, unit: Unit, number: int) -> Pieces:
    """One program sends three events of a record of their own, another withdraws it at one of the first steps."""
    record = format_id("rec_", number.to_bytes(10, "big"))
    token = cloud.give(id=record)
    cloud.send(*[unit.data(readings(boot_ms=unit.boot_ms - 1000), records=(record,)) for _ in range(3)])
    pieces = Pieces()

    def withdraw() -> None:
        cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms, record=record), record)
        pieces.is_withdrawn = True

    steps = Steps(cloud.clock, 1 + number % STEPS, Random(number), withdraw)
    pieces.step = steps.step
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    # its leases are not those that the withdrawal cuts
    forwarder = Forwarder(
        Turns(cloud.store, steps.step),  # type: ignore[arg-type]
        {kit.RECIPIENT: pieces},
        cloud.wrapping,
        Leases(),
        cloud.book.may_send,
        clocks,
        b"elsewhere",
    )
    for _ in range(4):
        forwarder.step(kit.RECIPIENT)
    if not pieces.is_withdrawn:
        withdraw()
    return pieces


def test_nothing_is_written_after_another_program_has_withdrawn(tmp_path: Path) -> None:
    """Wherever the sender is kept waiting meanwhile, and however long elsewhere."""
    cloud, unit = Cloud(tmp_path), Unit()
    cloud.enrol(unit)
    cloud.send(unit.schema())
    runs = {number: run_two(cloud, unit, number) for number in range(SCHEDULES)}
    assert {number for number, pieces in runs.items() if pieces.writes_after} == set()
    assert sum(0 < pieces.writes < 15 for pieces in runs.values()) > SCHEDULES / 3
