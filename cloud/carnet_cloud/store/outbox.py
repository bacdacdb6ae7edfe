"""What is on its way to a recipient, sealed under a key that ends with its grant, and what became of it.

Law: ending a grant deletes its key and its payloads in the same transaction; an event id is kept for ever. What an
event came to is told, and counted in the tallies, once, while it is queued: one that goes out again (`Replays`) is told
already, and changes that only from unknown to confirmed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from carnet_cloud.store.database import Database
from carnet_cloud.store.tallies import Changes, Tallies


@dataclass(frozen=True, slots=True)
class Queued:
    """One event that waits for its recipient. ``payload`` is sealed under the key of (record, recipient);
    ``created_ms`` is when it was made, or asked for once more.
    """

    event_id: bytes
    record: str
    recipient: str
    generation: int
    created_ms: int
    payload: bytes
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """What an event held, in numbers only; ``outcome``: queued, confirmed, unknown, destroyed, refused.

    ``counts`` is of the form of `carnet_cloud.spans`; ``replayed``: how often the recipient has confirmed it beyond the
    first time, because it asked for it.
    """

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
    replayed: int = 0


_DUE = (("leased", "lease_until_ms"), ("queued", "next_ms"))
"""What waits for its turn: in which state, and since when."""
_NOBODYS = "(lease_owner is null or lease_owner = ? or not exists (select 1 from receiver where member = lease_owner))"
"""Not another receiver's: one that nobody has buried writes down what became of its group, however long that takes."""
_IN_WINDOW = "(replay_ms is null or payload is not null and replay_until_ms > ?)"
"""It goes for the first time, or its replay window is open."""
_IN_TURN = (
    " and not exists (select 1 from outbox as other where other.record = outbox.record"
    " and other.recipient = outbox.recipient and other.state = 'leased' and other.lease_owner <> ?"
    " and other.lease_until_ms > ?)"
)
"""Nobody else is sending of its record."""
_DELIVERY = (
    "event_id, record, recipient, generation, samples, counts, first_ms, last_ms, size_bytes, outcome, time_ms,"
    " log_position"
)

_TOLD = " returning record, recipient, samples, last_ms, event_id"
"""What `Changes.add` needs of the deliveries that a statement has changed."""


class Outbox:
    """Events, their keys and their outcomes."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._tallies = Tallies(db)

    # events

    def add(self, queued: Queued, delivery: Delivery, replay_until_ms: int) -> bool:
        """False if the event id is known: a restored or repeated envelope makes no second event."""
        cursor = self._db.execute(
            "insert into outbox (event_id, record, recipient, generation,"
            " created_ms, payload, next_ms, state, replay_until_ms)"
            " values (?, ?, ?, ?, ?, ?, ?, 'queued', ?) on conflict do nothing",
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

    def due(
        self,
        recipient: str,
        owner: bytes,
        now_ms: int,
        limit: int,
        size_bytes_max: int | None = None,
        *,
        in_turn: bool = False,
    ) -> list[Queued]:
        """Events of a recipient whose time has come for ``owner`` to send them, by that time; those with a lease that
        ran out come first.

        Their payloads have at most ``size_bytes_max`` together, or it is one alone. ``in_turn``: none of a
        record of which another receiver has something in the air.
        """
        found: list[Queued] = []
        room = size_bytes_max
        turn = (owner, now_ms) if in_turn else ()
        for state, time_of in _DUE:
            rows = self._db.execute(
                "select event_id, record, recipient, generation, coalesce(replay_ms, created_ms), payload, attempts"
                f" from outbox where recipient = ? and state = ? and {time_of} <= ? and {_NOBODYS} and {_IN_WINDOW}"
                f"{_IN_TURN if in_turn else ''} order by {time_of}, event_id limit ?",
                (recipient, state, now_ms, owner, now_ms, *turn, limit - len(found)),
            )
            for row in rows:
                queued = Queued(*row)
                if room is not None:
                    room -= len(queued.payload)
                    if room < 0 and found:
                        return found
                found.append(queued)
        return found

    def due_records(self, recipient: str, owner: bytes, now_ms: int, limit: int, *, in_turn: bool = False) -> set[str]:
        """The records of what `due` would find."""
        found: list[str] = []
        turn = (owner, now_ms) if in_turn else ()
        for state, time_of in _DUE:
            rows = self._db.execute(
                f"select record from outbox where recipient = ? and state = ? and {time_of} <= ? and {_NOBODYS}"
                f" and {_IN_WINDOW}{_IN_TURN if in_turn else ''} order by {time_of}, event_id limit ?",
                (recipient, state, now_ms, owner, now_ms, *turn, limit - len(found)),
            )
            found += [row[0] for row in rows]
        return set(found)

    def postpone(self, record: str, recipient: str, owner: bytes, now_ms: int, next_ms: int) -> None:
        """Look at a record's events that are due for ``owner`` again later: it may not be sent now, but has not ended.

        All at once, or a thousand events of one silent record would stand before everybody else's.
        """
        self._db.execute(
            "update outbox set state = 'queued', next_ms = ?, lease_owner = null, lease_until_ms = null"
            " where record = ? and recipient = ? and"
            f" (state = 'queued' and next_ms <= ? or state = 'leased' and lease_until_ms <= ?) and {_NOBODYS}",
            (next_ms, record, recipient, now_ms, now_ms, owner),
        )

    def lose(self, event_id: bytes, now_ms: int) -> None:
        """The key of this one event is gone (a restored store): its payload goes too, the others of its record stay.

        If it was ever tried the recipient may have it.
        """
        tried = self._db.execute(
            "update delivery set outcome = 'unknown', time_ms = ? where event_id = ? and outcome = 'queued' and exists"
            " (select 1 from outbox where event_id = ? and attempts > 0)" + _TOLD,
            (now_ms, event_id, event_id),
        ).fetchall()
        self._tallies.doubt(tried, now_ms)
        state = "unknown" if tried else "destroyed"
        self._db.execute("update outbox set state = ?, payload = null where event_id = ?", (state, event_id))
        self._db.execute(
            "update delivery set outcome = 'destroyed', time_ms = ? where event_id = ? and outcome = 'queued'",
            (now_ms, event_id),
        )

    def lease(self, event_ids: Iterable[bytes], owner: bytes, until_ms: int) -> None:
        self._db.executemany(
            "update outbox set state = 'leased', lease_owner = ?, lease_until_ms = ?, attempts"
            " = attempts + 1 where event_id = ?",
            [(owner, until_ms, event_id) for event_id in event_ids],
        )

    def renew(self, event_id: bytes, owner: bytes, until_ms: int) -> bool:
        """False if the lease is no longer this owner's: the send must stop."""
        cursor = self._db.execute(
            "update outbox set lease_until_ms = ? where event_id = ? and lease_owner = ? and state = 'leased'",
            (until_ms, event_id, owner),
        )
        return cursor.rowcount == 1

    # what became of leased events. A lease that was taken away meanwhile (withdrawn) leaves what stands: it was listed
    # as unknown, and only who knows better may say so

    def confirm(self, event_ids: Sequence[bytes], owner: bytes, now_ms: int) -> None:
        """The recipient has them; that is written although the lease was taken away, for it is the truth.

        What it had before is counted apart: a second time is no second disclosure.
        """
        self._db.executemany(
            "update delivery set replayed = replayed + 1 where outcome = 'confirmed' and event_id = (select event_id"
            " from outbox where event_id = ? and lease_owner = ? and state in ('leased', 'unknown')"
            " and replay_ms is not null)",
            [(event_id, owner) for event_id in event_ids],
        )
        self._tell(event_ids, owner, "confirmed", now_ms, or_unknown=True)
        self._end(event_ids, owner, "confirmed", now_ms, or_state="unknown")

    def refuse(self, event_ids: Sequence[bytes], owner: bytes, now_ms: int) -> None:
        """The recipient answered that it will never take them."""
        self._tell(event_ids, owner, "refused", now_ms, or_unknown=False)
        self._end(event_ids, owner, "refused", now_ms)

    def give_up(self, event_ids: Sequence[bytes], owner: bytes, now_ms: int) -> None:
        """They were tried for long enough. The recipient may have them, although it never said so."""
        self._tell(event_ids, owner, "unknown", now_ms, or_unknown=False)
        self._end(event_ids, owner, "unknown", now_ms)

    def retry(self, times: Sequence[tuple[bytes, int]], owner: bytes) -> None:
        """They come again, each at its time (event id, ms)."""
        self._db.executemany(
            "update outbox set state = 'queued', next_ms = ?, lease_owner = null, lease_until_ms = null"
            " where event_id = ? and lease_owner = ? and state = 'leased'",
            [(next_ms, event_id, owner) for event_id, next_ms in times],
        )

    def put_back(self, event_ids: Sequence[bytes], owner: bytes, now_ms: int) -> None:
        """Nothing of them was ever written under this lease: they wait as before it.

        Those that were withdrawn meanwhile, and never tried before, the recipient surely has not. The account that told
        them as unknown takes nothing back. A replay that was withdrawn meanwhile was not tried.
        """
        mine = [(event_id, owner) for event_id in event_ids]
        self._db.executemany(
            "update outbox set state = 'queued', attempts = attempts - 1, lease_owner = null, lease_until_ms = null"
            " where event_id = ? and lease_owner = ? and state = 'leased'",
            mine,
        )
        unseen = "event_id = ? and lease_owner = ? and state = 'unknown' and (attempts = 1 or replay_ms is not null)"
        self._db.executemany(
            "update delivery set outcome = 'destroyed', time_ms = ? where outcome = 'unknown' and event_id ="
            f" (select event_id from outbox where {unseen} and replay_ms is null)",
            [(now_ms, *each) for each in mine],
        )
        self._db.executemany(f"update outbox set state = 'destroyed', attempts = attempts - 1 where {unseen}", mine)

    def give_back(self, event_ids: Iterable[bytes], owner: bytes) -> None:
        """The sender has stopped writing, whatever the state says."""
        self._db.executemany(
            "update outbox set lease_owner = null, lease_until_ms = null where event_id = ? and lease_owner = ?",
            [(event_id, owner) for event_id in event_ids],
        )

    def _tell(self, event_ids: Sequence[bytes], owner: bytes, outcome: str, now_ms: int, *, or_unknown: bool) -> None:
        """Write the outcome of those that are still leased."""
        changes = Changes()
        for event_id in event_ids:
            leased = self._db.execute(
                "update delivery set outcome = ?, time_ms = ? where event_id = ? and outcome = 'queued' and exists"
                " (select 1 from outbox where event_id = ? and lease_owner = ? and state = 'leased')" + _TOLD,
                (outcome, now_ms, event_id, event_id, owner),
            ).fetchall()
            doubted = [] if leased or not or_unknown else self._confirm_unknown(event_id, now_ms)
            changes.add([*leased, *doubted], confirmed=outcome == "confirmed", were_unknown=bool(doubted))
        self._tallies.add(changes, now_ms)

    def _confirm_unknown(self, event_id: bytes, now_ms: int) -> list[Any]:
        return self._db.execute(
            "update delivery set outcome = 'confirmed', time_ms = ? where event_id = ? and outcome = 'unknown'" + _TOLD,
            (now_ms, event_id),
        ).fetchall()

    def _end(
        self, event_ids: Sequence[bytes], owner: bytes, state: str, now_ms: int, *, or_state: str = "leased"
    ) -> None:
        """Nothing is left to send; the payload goes unless a replay window keeps it."""
        self._db.executemany(
            "update outbox set state = ?, confirmed_ms = ?, replay_ms = null, lease_owner = null,"
            " lease_until_ms = null, payload = case when replay_until_ms > ? then payload end"
            " where event_id = ? and lease_owner = ? and state in ('leased', ?)",
            [(state, now_ms, now_ms, event_id, owner, or_state) for event_id in event_ids],
        )

    # endings

    def destroy(self, record: str, now_ms: int) -> tuple[int, int]:
        """Delete key and payloads of a record; how many were (destroyed before anybody saw them, perhaps seen).

        What was ever tried the recipient may have, although it did not confirm: its outcome is unknown.
        """
        self._db.execute("delete from outbox_key where record = ?", (record,))
        # first of all: a question that puts payloads back (`Replays.ask`) is waited for, or finds none
        self._db.execute("update outbox set payload = null where record = ? and payload is not null", (record,))
        tried = "select event_id from outbox where record = ? and state in ('leased', 'queued') and attempts > 0"
        unknown = self._db.execute(
            "update delivery set outcome = 'unknown', time_ms = ? where outcome = 'queued'"
            f" and event_id in ({tried}){_TOLD}",
            (now_ms, record),
        ).fetchall()
        self._tallies.doubt(unknown, now_ms)
        unseen = self._db.execute(
            "update delivery set outcome = 'destroyed', time_ms = ? where outcome = 'queued' and event_id in"
            " (select event_id from outbox where record = ? and state = 'queued' and attempts = 0)",
            (now_ms, record),
        ).rowcount
        self._db.execute("update outbox set state = 'unknown' where record = ? and state = 'leased'", (record,))
        self._db.execute("update outbox set state = 'destroyed' where record = ? and state = 'queued'", (record,))
        return unseen, len(unknown)

    def ending(self, now_ms: int, limit: int) -> list[str]:
        """The records that `end_expired` would look at."""
        rows = self._db.execute(
            "select record from outbox_key where ends_ms <= ? order by ends_ms, record, recipient limit ?",
            (now_ms, limit),
        )
        return [row[0] for row in rows]

    def end_expired(self, now_ms: int, limit: int) -> int:
        """Destroy what is left of records that have expired, queued or not: nobody says when they do; how many.

        At most ``limit`` are looked at. One that was renewed is looked at again at its new end.
        """
        rows = self._db.execute(
            "select record, coalesce((select expires_ms from record where id = outbox_key.record), 0) from outbox_key"
            " where ends_ms <= ? order by ends_ms, record, recipient limit ?",
            (now_ms, limit),
        ).fetchall()
        ended = {record for record, expires_ms in rows if expires_ms <= now_ms}
        for record in sorted(ended):
            self.destroy(record, now_ms)
        self._db.executemany("update outbox_key set ends_ms = ? where record = ?", [(ms, name) for name, ms in rows])
        return len(ended)

    def in_flight(self, record: str, now_ms: int) -> int:
        """Sends of a record that may still write: their lease has neither been given back nor run out."""
        row = self._db.execute(
            "select count(*) from outbox where record = ? and state in ('leased', 'unknown')"
            " and lease_owner is not null and lease_until_ms > ?",
            (record, now_ms),
        ).fetchone()
        return int(row[0])

    def ended_since(self, record: str, since_ms: int) -> tuple[int, int]:
        """How many events of a record ended since then (destroyed before anybody saw them, perhaps seen)."""
        rows = self._db.execute(
            "select outcome, count(*) from delivery where record = ? and time_ms >= ?"
            " and outcome in ('destroyed', 'unknown') group by outcome order by outcome",
            (record, since_ms),
        )
        found = dict(rows.fetchall())
        return found.get("destroyed", 0), found.get("unknown", 0)

    def last_event(self, record: str) -> bytes | None:
        row = self._db.execute(
            "select event_id from delivery where record = ? and outcome in ('confirmed',"
            " 'unknown') order by time_ms desc, event_id limit 1",
            (record,),
        ).fetchone()
        return bytes(row[0]) if row else None

    def deliveries(self, record: str) -> list[Delivery]:
        rows = self._db.execute(
            f"select {_DELIVERY}, replayed from delivery where record = ? order by time_ms, event_id", (record,)
        )
        return [Delivery(*row) for row in rows]

    def depth(self) -> dict[str, int]:
        """How many events wait (``queued``) and how many are being sent (``leased``).

        Only these are counted, from an index: what is done stays for ever. The first part leaps from one recipient to
        the next instead of reading them all.
        """
        rows = self._db.execute(
            "with recursive known (recipient) as (select min(recipient) from outbox union all select"
            " (select min(recipient) from outbox where recipient > known.recipient) from known"
            " where known.recipient is not null)"
            " select state, count(*) from known join outbox using (recipient) where state in ('leased', 'queued')"
            " group by state order by state"
        )
        return dict(rows.fetchall())
