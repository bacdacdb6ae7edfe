"""Offers, records, their events and the generation of each vehicle's grant set.

Law: stored documents are the bytes as they came and are never written again from a parsed form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from carnet.grantsets import GENERATION_MAX
from carnet_cloud.store.database import Database


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it came (``jws``) with what the cloud decided about it.
    ``silent``: not sent until its owner has confirmed it.

    ``state`` and ``expires_ms`` come of all its entries. In force are the first ``in_force`` of them, the record being
    the first, until ``until_ms``: an entry that widens is in force once it is in the log. ``log_position`` is that of
    the newest entry in the log, 0 if none is. ``ended``: its end has an account.
    """

    id: str
    vehicle: bytes
    epoch: int
    tenant: str
    recipient: str
    offer: str
    jws: str
    state: str
    expires_ms: int
    silent: bool
    in_force: int = 0
    until_ms: int = 0
    log_position: int = 0
    ended: bool = False


_RECORD = (
    "id, vehicle, epoch, tenant, recipient, offer, jws, state, expires_ms, silent_until_confirmed, in_force, until_ms,"
    " log_position, ended"
)


def _record(row: tuple[Any, ...]) -> StoredRecord:
    return StoredRecord(*(*row[:9], bool(row[9]), *row[10:13], bool(row[13])))


class Consents:
    """Documents and what was decided about them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # offers

    def add_offer(self, offer: str, tenant: str, recipient: str, document: bytes, now_ms: int) -> None:
        """One that is there already stays as it is: the caller looks which it is."""
        self._db.execute(
            "insert into offer (id, tenant, recipient, document, created_ms) values (?, ?, ?, ?, ?)"
            " on conflict do nothing",
            (offer, tenant, recipient, document, now_ms),
        )

    def offer(self, offer: str) -> bytes | None:
        row = self._db.execute("select document from offer where id = ?", (offer,)).fetchone()
        return bytes(row[0]) if row else None

    def offers(self, tenant: str) -> list[bytes]:
        """Those of a tenant that have not ended."""
        rows = self._db.execute(
            "select document from offer where tenant = ? and ended_ms is null order by created_ms, id", (tenant,)
        )
        return [bytes(row[0]) for row in rows]

    def end_offer(self, offer: str, now_ms: int) -> None:
        """It ends once: a second time changes nothing."""
        self._db.execute("update offer set ended_ms = ? where id = ? and ended_ms is null", (now_ms, offer))

    def offer_ended_ms(self, offer: str) -> int | None:
        row = self._db.execute("select ended_ms from offer where id = ?", (offer,)).fetchone()
        return row[0] if row else None

    # records and events

    def add_record(self, record: StoredRecord, now_ms: int) -> None:
        self._db.execute(
            f"insert into record ({_RECORD}, created_ms) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.id, record.vehicle, record.epoch, record.tenant, record.recipient, record.offer, record.jws,
                record.state,
                record.expires_ms, int(record.silent), record.in_force, record.until_ms, record.log_position,
                int(record.ended), now_ms,
            ),
        )  # fmt: skip

    def record(self, record: str) -> StoredRecord | None:
        row = self._db.execute(f"select {_RECORD} from record where id = ?", (record,)).fetchone()
        return _record(row) if row else None

    def records(self, vehicle: bytes, epoch: int | None = None) -> list[StoredRecord]:
        """All records of a vehicle, of one epoch or of every one, in the order of their ids."""
        rows = self._db.execute(
            f"select {_RECORD} from record where vehicle = ? and epoch = coalesce(?, epoch) order by id",
            (vehicle, epoch),
        )
        return [_record(row) for row in rows]

    def all_records(self) -> list[StoredRecord]:
        return [_record(row) for row in self._db.execute(f"select {_RECORD} from record order by id")]

    def records_in(self, states: Iterable[str]) -> list[StoredRecord]:
        """All records in one of these stored states."""
        names = sorted(states)
        marks = ", ".join("?" * len(names))
        rows = self._db.execute(f"select {_RECORD} from record where state in ({marks}) order by id", names)
        return [_record(row) for row in rows]

    def sold(self) -> list[bytes]:
        """Vehicles that have a unit of a later epoch than a record of theirs that is given or suspended, as stored."""
        rows = self._db.execute(
            "select distinct record.vehicle from (select vehicle, max(epoch) as newest from device group by vehicle"
            " having min(epoch) < max(epoch)) as sold join record on record.vehicle = sold.vehicle"
            " and record.epoch < sold.newest where record.state in ('given', 'suspended') order by record.vehicle"
        )
        return [bytes(row[0]) for row in rows]

    def living_of(self, offer: str) -> int:
        """How many records agree to an offer and are given or suspended, as stored."""
        row = self._db.execute(
            "select count(*) from record where offer = ? and state in ('given', 'suspended')", (offer,)
        ).fetchone()
        return int(row[0])

    def set_record(self, record: str, state: str, expires_ms: int) -> None:
        self._db.execute("update record set state = ?, expires_ms = ? where id = ?", (state, expires_ms, record))

    def set_in_force(self, record: str, entries: int, until_ms: int) -> None:
        """So many entries of the record are in force from now on."""
        self._db.execute("update record set in_force = ?, until_ms = ? where id = ?", (entries, until_ms, record))

    def set_position(self, record: str, position: int) -> None:
        """The newest entry of the record has this place in the log."""
        self._db.execute("update record set log_position = ? where id = ?", (position, record))

    def set_ended(self, record: str) -> None:
        """The end of the record has an account."""
        self._db.execute("update record set ended = 1 where id = ?", (record,))

    def to_end(self, now_ms: int, limit: int) -> list[str]:
        """Records that have expired, and whose end has no account."""
        rows = self._db.execute(
            "select id from record where ended = 0 and expires_ms <= ? order by expires_ms, id limit ?", (now_ms, limit)
        )
        return [row[0] for row in rows]

    def set_silent(self, record: str, silent: bool) -> None:
        self._db.execute("update record set silent_until_confirmed = ? where id = ?", (int(silent), record))

    def add_event(self, record: str, seq: int, entry: str, now_ms: int) -> None:
        self._db.execute("insert into event values (?, ?, ?, ?)", (record, seq, entry, now_ms))

    def events(self, record: str) -> list[str]:
        return [row[0] for row in self._db.execute("select entry from event where record = ? order by seq", (record,))]

    def event_times(self, record: str) -> list[int]:
        """When each event came, by the server's clock."""
        rows = self._db.execute("select time_ms from event where record = ? order by seq", (record,))
        return [row[0] for row in rows]

    # generation: one per (vehicle, epoch), only rising

    def generation(self, vehicle: bytes, epoch: int) -> int:
        row = self._db.execute(
            "select generation from generation where vehicle = ? and epoch = ?", (vehicle, epoch)
        ).fetchone()
        return int(row[0]) if row else 0

    def raise_generation(self, vehicle: bytes, epoch: int, *, above: int = 0) -> int:
        """The next generation, greater than the last one and than ``above`` (what an agent or owner's tool has
        seen); the last number there is stays.
        """
        self._db.execute(
            "insert into generation (vehicle, epoch, generation) values (?, ?, ?)"
            " on conflict (vehicle, epoch) do update set generation = case"
            " when generation.generation < excluded.generation then excluded.generation"
            " when generation.generation < ? then generation.generation + 1 else generation.generation end",
            (vehicle, epoch, min(above + 1, GENERATION_MAX), GENERATION_MAX),
        )
        return self.generation(vehicle, epoch)

    def log_floor(self, vehicle: bytes, epoch: int) -> int:
        """The largest log that the vehicle's units or owners have seen and this store has not."""
        row = self._db.execute(
            "select log_floor from generation where vehicle = ? and epoch = ?", (vehicle, epoch)
        ).fetchone()
        return int(row[0]) if row else 0

    def set_log_floor(self, vehicle: bytes, epoch: int, size: int) -> None:
        self._db.execute(
            "insert into generation (vehicle, epoch, generation, log_floor) values (?, ?, 0, ?)"
            " on conflict (vehicle, epoch) do update set log_floor = excluded.log_floor",
            (vehicle, epoch, size),
        )

    # the journal of narrowings, which lies outside

    def journal_lines(self) -> int:
        """How many narrowings of the journal this store has applied."""
        return int(self._db.execute("select journal_lines from incarnation").fetchone()[0])

    def journal_digest(self) -> bytes:
        """Which lines those are (`Journal.digest`); empty if that was not written down."""
        return bytes(self._db.execute("select journal_digest from incarnation").fetchone()[0] or b"")

    def set_journal_lines(self, lines: int, digest: bytes = b"") -> None:
        self._db.execute("update incarnation set journal_lines = ?, journal_digest = ?", (lines, digest))
