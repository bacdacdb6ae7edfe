"""What is on its way to a recipient, sealed under a key that ends with its grant, and what became of it.

Law: ending a grant deletes its key and its payloads in the same transaction; an event id is kept for ever.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queued:
    """One event that waits for its recipient. ``payload`` is sealed under the key of (record, recipient)."""

    event_id: bytes
    record: str
    recipient: str
    generation: int
    created_ms: int
    payload: bytes
    attempts: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """What an event held, in numbers only; ``outcome``: queued, confirmed, unknown, destroyed, refused."""

    event_id: bytes
    record: str
    recipient: str
    generation: int
    samples: int
    counts: str
    first_ms: int
    last_ms: int
    size_bytes: int
    outcome: str
    time_ms: int
    log_position: int = 0


_DELIVERY = (
    "event_id, record, recipient, generation, samples, counts, first_ms, last_ms, size_bytes, outcome, time_ms,"
    " log_position"
)


class Outbox:
    """Events, their keys and their outcomes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    # keys, wrapped by a key that lives outside the database

    def key(self, record: str, recipient: str) -> tuple[bytes, bytes] | None:
        """(wrapped key, id of the wrapping key)"""
        row = self._db.execute(
            "select wrapped, wrapping_key from outbox_key where record = ? and recipient = ?", (record, recipient)
        ).fetchone()
        return (bytes(row[0]), bytes(row[1])) if row else None

    def set_key(self, record: str, recipient: str, wrapped: bytes, wrapping_key: bytes) -> None:
        self._db.execute(
            "insert or replace into outbox_key values (?, ?, ?, ?)", (record, recipient, wrapped, wrapping_key)
        )

    def all_keys(self) -> list[tuple[str, str, bytes, bytes]]:
        rows = self._db.execute(
            "select record, recipient, wrapped, wrapping_key from outbox_key order by record, recipient"
        )
        return [(r, p, bytes(w), bytes(k)) for r, p, w, k in rows]

    # events

    def add(self, queued: Queued, delivery: Delivery, replay_until_ms: int) -> bool:
        """False if the event id is known: a restored or repeated envelope makes no second event."""
        cursor = self._db.execute(
            "insert or ignore into outbox (event_id, record, recipient, generation,"
            " created_ms, payload, next_ms, state, replay_until_ms)"
            " values (?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
            (
                queued.event_id, queued.record, queued.recipient, queued.generation, queued.created_ms, queued.payload,
                queued.created_ms, replay_until_ms,
            ),
        )  # fmt: skip
        if cursor.rowcount == 0:
            return False
        self._db.execute(
            f"insert into delivery ({_DELIVERY}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                delivery.event_id, delivery.record, delivery.recipient, delivery.generation, delivery.samples,
                delivery.counts, delivery.first_ms, delivery.last_ms, delivery.size_bytes, delivery.outcome,
                delivery.time_ms, delivery.log_position,
            ),
        )  # fmt: skip
        return True

    def due(self, recipient: str, now_ms: int, limit: int) -> list[Queued]:
        """Events of a recipient whose time has come, by that time; those with a lease that ran out come first."""
        found: list[Queued] = []
        for state, time_of in (("leased", "lease_until_ms"), ("queued", "next_ms")):
            rows = self._db.execute(
                "select event_id, record, recipient, generation, created_ms, payload, attempts from outbox"
                f" where recipient = ? and state = ? and {time_of} <= ? order by {time_of}, event_id limit ?",
                (recipient, state, now_ms, limit - len(found)),
            )
            found += [Queued(*row) for row in rows]
        return found

    def postpone(self, record: str, recipient: str, now_ms: int, next_ms: int) -> None:
        """Look at a record's due events again later: it may not be sent now, but has not ended.

        All at once, or a thousand events of one silent record would stand before everybody else's.
        """
        self._db.execute(
            "update outbox set state = 'queued', next_ms = ?, lease_owner = null, lease_until_ms = null"
            " where record = ? and recipient = ? and"
            " (state = 'queued' and next_ms <= ? or state = 'leased' and lease_until_ms <= ?)",
            (next_ms, record, recipient, now_ms, now_ms),
        )

    def lose(self, event_id: bytes, now_ms: int) -> None:
        """The key of this one event is gone (a restored store): its payload goes too, the others of its record stay."""
        self._db.execute("update outbox set state = 'destroyed', payload = null where event_id = ?", (event_id,))
        self._db.execute(
            "update delivery set outcome = 'destroyed', time_ms = ? where event_id = ?", (now_ms, event_id)
        )

    def lease(self, event_id: bytes, owner: bytes, until_ms: int) -> None:
        self._db.execute(
            "update outbox set state = 'leased', lease_owner = ?, lease_until_ms = ?, attempts"
            " = attempts + 1 where event_id = ?",
            (owner, until_ms, event_id),
        )

    def renew(self, event_id: bytes, owner: bytes, until_ms: int) -> bool:
        """False if the lease is no longer this owner's: the send must stop."""
        cursor = self._db.execute(
            "update outbox set lease_until_ms = ? where event_id = ? and lease_owner = ? and state = 'leased'",
            (until_ms, event_id, owner),
        )
        return cursor.rowcount == 1

    def retry(self, event_id: bytes, owner: bytes, next_ms: int) -> bool:
        cursor = self._db.execute(
            "update outbox set state = 'queued', next_ms = ?, lease_owner = null, lease_until_ms = null"
            " where event_id = ? and lease_owner = ? and state = 'leased'",
            (next_ms, event_id, owner),
        )
        return cursor.rowcount == 1

    def settle(self, event_id: bytes, owner: bytes, outcome: str, now_ms: int) -> bool:
        """Record the recipient's outcome (confirmed, refused); the payload goes unless a replay window keeps it.

        False when the lease was taken away meanwhile (withdrawn): then the outcome already stands as unknown, unless
        the recipient has confirmed after all, which is the truth and is written.
        """
        cursor = self._db.execute(
            "update outbox set state = ?, confirmed_ms = ?, lease_owner = null, lease_until_ms = null,"
            "payload = case when replay_until_ms > ? then payload end where event_id = ? and"
            " lease_owner = ? and state = 'leased'",
            (outcome, now_ms, now_ms, event_id, owner),
        )
        mine = cursor.rowcount == 1
        if mine:
            self._db.execute(
                "update delivery set outcome = ?, time_ms = ? where event_id = ?", (outcome, now_ms, event_id)
            )
        return mine

    def confirm_unknown(self, event_id: bytes, now_ms: int) -> None:
        """A recipient confirmed what was listed as unknown."""
        self._db.execute(
            "update delivery set outcome = 'confirmed', time_ms = ? where event_id = ? and outcome = 'unknown'",
            (now_ms, event_id),
        )

    def destroy(self, record: str, now_ms: int) -> tuple[int, int]:
        """Delete key and payloads of a record; how many were (destroyed before anybody saw them, perhaps seen).

        What was ever tried the recipient may have, although it did not confirm: its outcome is unknown.
        """
        self._db.execute("delete from outbox_key where record = ?", (record,))
        unknown = self._db.execute(
            "update delivery set outcome = 'unknown', time_ms = ? where event_id in"
            " (select event_id from outbox where record = ? and state in ('leased', 'queued') and attempts > 0)",
            (now_ms, record),
        ).rowcount
        unseen = self._db.execute(
            "update delivery set outcome = 'destroyed', time_ms = ? where event_id in"
            " (select event_id from outbox where record = ? and state = 'queued' and attempts = 0)",
            (now_ms, record),
        ).rowcount
        self._db.execute("update outbox set state = 'unknown' where record = ? and state = 'leased'", (record,))
        self._db.execute("update outbox set state = 'destroyed' where record = ? and state = 'queued'", (record,))
        self._db.execute("update outbox set payload = null where record = ?", (record,))
        return unseen, unknown

    def in_flight(self, record: str, now_ms: int) -> int:
        """Sends of a record that may still write: their lease has neither been given back nor run out."""
        row = self._db.execute(
            "select count(*) from outbox where record = ? and state in ('leased', 'unknown')"
            " and lease_owner is not null and lease_until_ms > ?",
            (record, now_ms),
        ).fetchone()
        return int(row[0])

    def give_back(self, event_id: bytes, owner: bytes) -> None:
        """The sender has stopped writing, whatever the state says."""
        self._db.execute(
            "update outbox set lease_owner = null, lease_until_ms = null where event_id = ? and lease_owner = ?",
            (event_id, owner),
        )

    def last_event(self, record: str) -> bytes | None:
        row = self._db.execute(
            "select event_id from delivery where record = ? and outcome in ('confirmed',"
            " 'unknown') order by time_ms desc, event_id limit 1",
            (record,),
        ).fetchone()
        return bytes(row[0]) if row else None

    def drop_replayed(self, now_ms: int) -> int:
        """Payloads whose replay window has ended."""
        return self._db.execute(
            "update outbox set payload = null where state = 'confirmed' and payload is not"
            " null and replay_until_ms <= ?",
            (now_ms,),
        ).rowcount

    def deliveries(self, record: str) -> list[Delivery]:
        rows = self._db.execute(
            f"select {_DELIVERY} from delivery where record = ? order by time_ms, event_id", (record,)
        )
        return [Delivery(*row) for row in rows]

    def depth(self) -> dict[str, int]:
        """Events by state."""
        return dict(self._db.execute("select state, count(*) from outbox group by state order by state").fetchall())
