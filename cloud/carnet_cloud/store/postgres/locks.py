"""What transactions on one PostgreSQL keep from one another: advisory locks, which end with the transaction.

Rows alone would not do: a narrowing must wait for a send that has read GIVEN and written nothing yet. Advisory locks
are queued in their order, so a stream of readers cannot hold up a withdrawal for ever, and leave nothing in the tables.

A vehicle's consents are guarded by one of 256 locks, which its random id chooses: a receiver's group of 256 envelopes
would otherwise fill the server's table of locks. Several are taken in the order of their numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from typing import Any

from carnet_cloud.store.database import Database

CONSENTS, JOURNAL, RECIPIENT, WRAPPING, MEMBER, SHARING, SCHEMA, LOG = range(0x43520001, 0x43520009)
"""Kinds of locks; the other half of a lock's name says which."""
STRIPE = "get_byte(vehicle, 0)"
NARROWED = "carnet_narrowed"
"""The channel on which programs tell one another whose grant has narrowed."""
SHARED, ALONE = "_shared", ""
"""How a lock is held, as PostgreSQL's functions are named."""


class PostgresLocks:
    """The locks of the transaction that is open. Within one, what is held already is not asked for again."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._held: set[tuple[str, int, int]] = set()

    def forget(self) -> None:
        """Another transaction begins: it holds nothing."""
        self._held.clear()

    def keep_devices(self, devices: Collection[bytes]) -> None:
        self._stripes(SHARED, "device where device", sorted(devices))

    def keep_vehicle(self, vehicle: bytes) -> None:
        self._lock(SHARED, CONSENTS, vehicle[0])

    def keep_records(self, records: Collection[str]) -> None:
        self._stripes(SHARED, "record where id", sorted(records))

    def change_vehicle(self, vehicle: bytes) -> None:
        self._lock(ALONE, CONSENTS, vehicle[0])

    def change_records(self, records: Collection[str]) -> None:
        self._stripes(ALONE, "record where id", sorted(records))

    def narrow(self) -> None:
        self._lock(ALONE, JOURNAL, 0)

    def forward(self, recipient: str) -> None:
        self._lock(ALONE, RECIPIENT, _number(recipient.encode()))

    def log(self, tenant: str) -> None:
        self._lock(ALONE, LOG, _number(tenant.encode()))

    def wrap(self) -> None:
        self._lock(SHARED, WRAPPING, 0)

    def rewrap(self) -> None:
        self._lock(ALONE, WRAPPING, 0)

    def serve(self, member: bytes) -> None:
        self._lock(SHARED, MEMBER, _number(member))

    def take_over(self, member: bytes) -> bool:
        row = self._db.execute(
            "select pg_try_advisory_xact_lock(?::int4, ?::int4)", (MEMBER, _number(member))
        ).fetchone()
        return bool(row[0])

    def share(self) -> None:
        self._lock(ALONE, SHARING, 0)

    def tell_narrowed(self, record: str) -> None:
        self._db.execute("select pg_notify(?, ?)", (NARROWED, record))

    def now_ms(self) -> int:
        row = self._db.execute("select (extract(epoch from clock_timestamp()) * 1000)::bigint").fetchone()
        return int(row[0])

    def _lock(self, how: str, kind: int, name: int) -> None:
        if (how, kind, name) not in self._held and (ALONE, kind, name) not in self._held:
            self._db.execute(f"select pg_advisory_xact_lock{how}(?::int4, ?::int4)", (kind, name))
            self._held.add((how, kind, name))

    def _stripes(self, how: str, named: str, names: Sequence[Any]) -> None:
        """The locks of all vehicles that these names lead to, in one statement. A vehicle's id never changes."""
        if not names:
            return
        rows = self._db.execute(
            f"select stripe, pg_advisory_xact_lock{how}({CONSENTS}, stripe)"
            f" from (select distinct {STRIPE} as stripe from {named} = any(?) order by stripe) as found",
            (names,),
        )
        self._held.update((how, CONSENTS, int(row[0])) for row in rows)


def _number(name: bytes) -> int:
    """A signed 32-bit number; two names with one number only wait for one another."""
    return zlib.crc32(name) - (1 << 31)
