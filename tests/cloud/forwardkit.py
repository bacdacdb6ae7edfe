"""A forwarder with a recipient in memory that a test can hold up, and what waits for it.

Fixtures are imported by name into the files that use them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from carnet.ids import format_id
from carnet_cloud.consents import Ended
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.lease import Lease, LeaseOver
from carnet_cloud.recipients import Event, Outcome, Recipient
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit

OTHER = format_id("rec_", b"the other!")


class Listener:
    """A recipient in memory. ``during(n)`` runs while the n-th send is in the air, from 1."""

    def __init__(self) -> None:
        self.sends = 0
        self.got: list[bytes] = []
        self.records: list[str] = []
        self.during: Callable[[int], object] = lambda _: None
        self.outcome = Outcome.CONFIRMED
        self.finished = Outcome.CONFIRMED

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        self.sends += 1
        self.during(self.sends)
        try:
            lease.guard()
        except LeaseOver:
            return Outcome.CUT
        self.got.append(event.event_id)
        self.records.append(lease.record)
        return self.outcome

    def finish(self) -> Outcome:
        return self.finished

    def close(self) -> None:
        return


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    unit = Unit()
    cloud.enrol(unit)
    return unit


@pytest.fixture
def listener() -> Listener:
    return Listener()


def make_forwarder(cloud: Cloud, recipient: Recipient, owner: bytes = b"sender01") -> Forwarder:
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    ends = {kit.RECIPIENT: recipient}
    return Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, owner)


@pytest.fixture
def forwarder(cloud: Cloud, listener: Listener) -> Forwarder:
    return make_forwarder(cloud, listener)


def queued(cloud: Cloud, unit: Unit, count: int) -> str:
    """A given record with this many events in the outbox; the record's token."""
    token = cloud.give()
    cloud.send(unit.schema(), *[unit.data() for _ in range(count)])
    return token


def queued_for_two(cloud: Cloud, unit: Unit, count: int) -> tuple[str, str]:
    """Two records of one recipient, this many events of each; the records' tokens."""
    tokens = cloud.give(), cloud.give(id=OTHER)
    cloud.send(unit.schema(), *[unit.data(records=(kit.RECORD_ID, OTHER)) for _ in range(count)])
    return tokens


def outcomes(cloud: Cloud, record: str = kit.RECORD_ID) -> dict[str, int]:
    """What the owner is told of a record: how many events by outcome."""
    with cloud.store.transaction() as t:
        told = [delivery.outcome for delivery in t.outbox.deliveries(record)]
    return {outcome: told.count(outcome) for outcome in sorted(set(told))}


def withdraw(cloud: Cloud, token: str, record: str = kit.RECORD_ID) -> Ended:
    ended = cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms, record=record), record)
    assert isinstance(ended, Ended)
    return ended


def later(cloud: Cloud, ms: int) -> None:
    """What takes its time."""
    cloud.clock.ms += ms
