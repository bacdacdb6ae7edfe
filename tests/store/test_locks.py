"""Several programs on one PostgreSQL: what excludes what, and no update is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest

from carnet.errors import RemoteError
from carnet.ids import device_text
from carnet.states import EventKind
from carnet_cloud.enrol import end_unit, enrol
from carnet_cloud.forward import Forwarder
from carnet_cloud.recipients import Outcome
from carnet_cloud.replay import end_windows
from carnet_cloud.sending import Sent
from carnet_cloud.store import Transaction
from carnet_cloud.store.outbox import Queued
from carnet_cloud.store.postgres import PostgresStore
from carnet_cloud.store.postgres.locks import PostgresLocks
from tests import consentkit as kit
from tests.cloud import kit as cloudkit
from tests.cloud.forwardkit import OTHER, Listener, make_forwarder
from tests.cloud.kit import VEHICLE, Cloud, Unit
from tests.cloud.test_enrol import enrolment
from tests.store.backends import WAIT_S, until

Ask = Callable[[Transaction], object]
OTHER_VEHICLE = bytes([VEHICLE[0] ^ 1]) + VEHICLE[1:]

QUEUED = Queued(bytes(16), kit.RECORD_ID, kit.RECIPIENT, 1, 1, b"", 1)

WINDOWS: Ask = lambda t: end_windows(t, 2**52, 10)  # noqa: E731
KEEP: Ask = lambda t: t.others.keep_vehicle(VEHICLE)  # noqa: E731 - a table of questions
KEEP_DEVICE: Ask = lambda t: t.others.keep_devices([cloudkit.DEVICE])  # noqa: E731
KEEP_RECORD: Ask = lambda t: t.others.keep_records([kit.RECORD_ID])  # noqa: E731
CHANGE: Ask = lambda t: t.others.change_vehicle(VEHICLE)  # noqa: E731
CHANGE_RECORD: Ask = lambda t: t.others.change_records([kit.RECORD_ID])  # noqa: E731
CHANGE_OTHER: Ask = lambda t: t.others.change_vehicle(OTHER_VEHICLE)  # noqa: E731
NARROW: Ask = lambda t: t.others.narrow()  # noqa: E731
FORWARD: Ask = lambda t: t.others.forward(kit.RECIPIENT)  # noqa: E731
FORWARD_OTHER: Ask = lambda t: t.others.forward("rcp_somebodyelse")  # noqa: E731
WRAP: Ask = lambda t: t.others.wrap()  # noqa: E731
REWRAP: Ask = lambda t: t.others.rewrap()  # noqa: E731


def waiting(store: PostgresStore) -> bool:
    """Whether some program waits for a lock."""
    with store.transaction() as t:
        return bool(t.outbox._db.execute("select count(*) from pg_locks where not granted").fetchone()[0])


def waits(stores: list[PostgresStore], first: Ask, second: Ask) -> bool:
    """Whether a transaction that asks ``second`` waits for one that has asked ``first`` to end."""
    through = threading.Event()

    def work() -> None:
        with stores[1].transaction() as t:
            second(t)
        through.set()

    thread = threading.Thread(target=work)
    with stores[0].transaction() as t:
        first(t)
        thread.start()
        until(lambda: through.is_set() or waiting(stores[2]))
        waited = not through.is_set()
    thread.join(WAIT_S)
    assert through.is_set()
    return waited


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (KEEP, KEEP, False),
        (KEEP, CHANGE, True),
        (CHANGE, KEEP, True),
        (CHANGE, CHANGE, True),
        (CHANGE, CHANGE_OTHER, False),
        (KEEP_DEVICE, KEEP_RECORD, False),
        (KEEP_DEVICE, CHANGE_RECORD, True),
        (CHANGE_RECORD, KEEP_DEVICE, True),
        (KEEP_RECORD, CHANGE, True),
        (NARROW, NARROW, True),
        (FORWARD, FORWARD, True),
        (FORWARD, FORWARD_OTHER, False),
        (WRAP, WRAP, False),
        (WRAP, REWRAP, True),
        (REWRAP, WRAP, True),
        (REWRAP, CHANGE, False),
    ],
)
def test_what_waits_for_what(
    stores: list[PostgresStore], clouds: list[Cloud], unit: Unit, first: Ask, second: Ask, expected: bool
) -> None:
    clouds[0].give()
    assert waits(stores, first, second) is expected


def sends(cloud: Cloud, unit: Unit, _: Forwarder) -> object:
    return cloud.send(unit.data())


def leases(_cloud: Cloud, _unit: Unit, forwarder: Forwarder) -> object:
    return forwarder._take(kit.RECIPIENT, 0.0)


def renews(_cloud: Cloud, _unit: Unit, forwarder: Forwarder) -> object:
    return forwarder._renew(QUEUED)


def settles(_cloud: Cloud, _unit: Unit, forwarder: Forwarder) -> object:
    forwarder._settle([Sent(QUEUED, Outcome.CONFIRMED)])
    return None


def gives(cloud: Cloud, _unit: Unit, _: Forwarder) -> object:
    return cloud.give(id=OTHER)


def confirms(cloud: Cloud, _unit: Unit, _: Forwarder) -> object:
    cloud.consents.confirm(kit.RECORD_ID)
    return None


def withdraws(cloud: Cloud, _unit: Unit, _: Forwarder) -> object:
    return cloud.consents.operate(kit.RECORD_ID, EventKind.REVOKE, "test")


def enrols(cloud: Cloud, unit: Unit, _: Forwarder) -> object:
    return enrol(cloud.store, enrolment(unit), kit.TENANT, 1)


def ends(cloud: Cloud, unit: Unit, _: Forwarder) -> object:
    return end_unit(cloud.store, device_text(unit.device), 1)


@pytest.mark.parametrize(
    ("meanwhile", "work", "lacking"),
    [
        (CHANGE, sends, "keep_devices"),
        (CHANGE, sends, "keep_vehicle"),
        (CHANGE, leases, ""),
        (CHANGE, renews, ""),
        (CHANGE, settles, ""),
        (KEEP, gives, ""),
        (KEEP, confirms, ""),
        (KEEP, withdraws, ""),
        (KEEP, enrols, ""),
        (KEEP, ends, ""),
        (NARROW, withdraws, ""),
    ],
)
def test_whatever_decides_waits_for_who_changes_and_whatever_changes_for_who_decides(
    stores: list[PostgresStore],
    clouds: list[Cloud],
    unit: Unit,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Ask,
    work: Callable[[Cloud, Unit, Forwarder], object],
    lacking: str,
) -> None:
    """``lacking``: a way of asking that is not needed where there is the other."""
    clouds[0].give()
    clouds[0].send(unit.schema(), unit.data())
    if lacking:
        monkeypatch.setattr(PostgresLocks, lacking, lambda *_: None)
    forwarder = make_forwarder(clouds[1], Listener())

    def there() -> None:
        with contextlib.suppress(RemoteError):
            work(clouds[1], unit, forwarder)
        through.set()

    through = threading.Event()
    thread = threading.Thread(target=there)
    with stores[0].transaction() as t:
        meanwhile(t)
        thread.start()
        until(lambda: through.is_set() or waiting(stores[2]))
        waited = not through.is_set()
    thread.join(WAIT_S)
    assert through.is_set()
    assert waited


def test_windows_end_while_nobody_narrows_and_nobody_waits_for_both(
    stores: list[PostgresStore], clouds: list[Cloud], unit: Unit
) -> None:
    """They and a withdrawal change the same rows, each in an order of its own."""
    clouds[0].offers.publish(kit.offer_bytes(replay_ms=kit.DAY_MS))
    clouds[0].consents.give(kit.token(kit.offer_bytes(replay_ms=kit.DAY_MS)), kit.VEHICLE)
    clouds[0].send(unit.schema(), *[unit.data() for _ in range(3)])
    forwarder = make_forwarder(clouds[0], Listener())
    while forwarder.step(kit.RECIPIENT):
        pass
    assert waits(stores, CHANGE_RECORD, WINDOWS)
    assert clouds[0].ask("select count(*) from outbox where payload is not null") == (0,)


def test_no_generation_and_no_count_is_lost(stores: list[PostgresStore]) -> None:
    def work(store: PostgresStore) -> None:
        for _ in range(25):
            with store.transaction() as t:
                t.consents.raise_generation(VEHICLE, 1)
                t.counters.add("raised")

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with stores[0].transaction() as t:
        assert t.consents.generation(VEHICLE, 1) == t.counters.all()["raised"] == 75
