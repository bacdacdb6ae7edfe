"""A cloud that is put back from a copy of before: what was given and withdrawn since, and what then goes out.

Law: how a store is copied and put back is its own affair (`Keeping`); what must come of it is the same.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.lease import Lease
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.running import backup
from carnet_cloud.statement import statement_of
from carnet_cloud.store import SqliteStore
from tests import consentkit as kit
from tests.cloud.kit import NOW_MS, VEHICLE, Cloud, Unit


class Keeping(Protocol):
    """A kind of store. Folders name stores; what lies in a cloud's folder beside its store is not the store's."""

    def open(self, folder: Path) -> Any:
        """The store of this cloud, made if it is new."""

    def copy(self, store: Any, file: Path) -> None:
        """As its operator does it, while it is in use."""

    def put(self, file: Path, folder: Path) -> None:
        """Make the store of this cloud of a copy; there is none."""

    def lose(self, folder: Path) -> None:
        """The store is gone, and nothing else."""


class Files:
    """On SQLite, by the product's own commands."""

    def open(self, folder: Path) -> SqliteStore:
        return SqliteStore.open(folder / "store" / "cloud.db", incarnation=b"i" * 16, now_ms=NOW_MS)

    def copy(self, store: SqliteStore, file: Path) -> None:
        backup.copy(store, file)

    def put(self, file: Path, folder: Path) -> None:
        backup.put(file, folder / "store" / "cloud.db")

    def lose(self, folder: Path) -> None:
        shutil.move(folder / "store", folder / "lost")


class Reader:
    """A recipient that keeps the ids of what it has got."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        lease.guard()
        self.ids.append(event.name)
        return Outcome.CONFIRMED

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None: ...


def forwarded(cloud: Cloud) -> list[str]:
    """What goes out now."""
    cloud.clock.ms += 20_000
    reader, clocks = Reader(), Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.5)
    to = {kit.RECIPIENT: reader}
    forwarder = Forwarder(cloud.store, to, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"o" * 8)
    while forwarder.step(kit.RECIPIENT):
        pass
    return reader.ids


def outcomes(cloud: Cloud) -> dict[str, list[str]]:
    """Of each record, what the owner's statement says became of its events."""
    with cloud.store.transaction() as t:
        return {
            record.id: [delivery.outcome for delivery in t.outbox.deliveries(record.id)]
            for record in t.consents.records(VEHICLE)
        }


def stated(cloud: Cloud) -> dict[str, Any]:
    with cloud.store.transaction() as t:
        statement = statement_of(t, VEHICLE, {1}, cloud.clock.ms)
    return {entry["record"]: entry for entry in statement["records"]}


class Drill:
    """A cloud at home with two consents; a backup; then more events, and a withdrawal that the backup does not know."""

    def __init__(self, folder: Path, keeping: Keeping) -> None:
        self.folder, self.keeping = folder, keeping
        self.home = Cloud(folder / "home", store=keeping.open(folder / "home"))
        self.unit = Unit()
        self.home.enrol(self.unit)
        self.home.give()
        other = kit.token(id=kit.OTHER_RECORD_ID)
        self.home.consents.give(other, kit.VEHICLE)
        both = (kit.RECORD_ID, kit.OTHER_RECORD_ID)
        self.home.send(self.unit.schema(), self.unit.data(records=both))
        self.first = forwarded(self.home)
        self.home.send(self.unit.data())
        self.file = folder / "monday.db"
        keeping.copy(self.home.store, self.file)
        self.second = forwarded(self.home)
        withdraw = kit.event("withdraw", [other], self.home.clock.ms, record=kit.OTHER_RECORD_ID)
        self.home.consents.event(withdraw, kit.OTHER_RECORD_ID)
        self.later = self.unit.data()
        self.home.send(self.later)
        self.third = forwarded(self.home)
        with self.home.store.transaction() as t:
            self.generation = t.consents.generation(VEHICLE, 1)
        self.home.store.close()
        self.stands = [len(self.first), len(self.second), len(self.third)]

    def restored(self, folder: Path) -> Cloud:
        """A cloud that starts from the backup in this folder, with whatever journal and wrapping keys lie there."""
        self.keeping.put(self.file, folder)
        cloud = Cloud(folder, store=self.keeping.open(folder), new_store=False)
        cloud.clock.ms = self.home.clock.ms
        cloud.consents.replay_journal()
        cloud.consents.finish_endings()
        return cloud

    def unit_tells_what_it_has_seen(self, cloud: Cloud) -> None:
        self.unit.generation = self.generation
        cloud.send(self.unit.check_in())
