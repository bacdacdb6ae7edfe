"""What a recipient has asked for once more: its last question, and what became of each event of it.

Law: an event goes out again as itself, out of the outbox, with its own id. What became of it is read off the outbox, so
that nothing has to be kept in step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carnet_cloud.store.database import Database


@dataclass(frozen=True, slots=True)
class Done:
    """An event that is no longer on its way; ``is_kept``: its payload is there and its window open."""

    event_id: bytes
    record: str
    state: str
    is_kept: bool
    attempts: int


@dataclass(frozen=True, slots=True)
class Question:
    """The last one of a recipient: from which event on, when, and the first that it was too many for (or empty)."""

    first: bytes
    asked_ms: int
    next: bytes


_DONE = "payload is not null and state not in ('leased', 'queued') and replay_until_ms <= ?"
_AGAIN = (
    "replay_ms is not null and state in ('leased', 'queued') and replay_until_ms <= ?"
    " and (state = 'queued' or lease_until_ms <= ?)"
)


class Replays:
    """One question of each recipient."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def done_from(self, recipient: str, first: bytes, now_ms: int, limit: int) -> list[Done] | None:
        """Events of the recipient from this one on, in the order in which they were made; None if it has no such one.

        What is still on its way for the first time comes by itself and is not among them.
        """
        place = self._db.execute(
            "select created_ms from outbox where event_id = ? and recipient = ?", (first, recipient)
        ).fetchone()
        if place is None:
            return None
        rows = self._db.execute(
            "select event_id, record, state, payload is not null and replay_until_ms > ?, attempts from outbox"
            " where recipient = ? and (created_ms, event_id) >= (?, ?) and state not in ('leased', 'queued')"
            " order by created_ms, event_id limit ?",
            (now_ms, recipient, place[0], first, limit),
        )
        return [Done(bytes(row[0]), row[1], row[2], bool(row[3]), row[4]) for row in rows]

    def ask(self, recipient: str, question: Question, items: Sequence[tuple[Done, str]]) -> None:
        """Put those into the outbox again for which nothing stands in the way, to go in the order in which they were
        made; the others keep the word for it.
        """
        self._db.execute("delete from replay_item where recipient = ?", (recipient,))
        self._db.execute(
            "insert into replay_question (recipient, first, asked_ms, next) values (?, ?, ?, ?) on conflict (recipient)"
            " do update set first = excluded.first, asked_ms = excluded.asked_ms, next = excluded.next",
            (recipient, question.first, question.asked_ms, question.next),
        )
        self._db.executemany(
            "insert into replay_item (recipient, event_id, kept, attempts) values (?, ?, ?, ?)",
            [(recipient, done.event_id, kept, done.attempts) for done, kept in items],
        )
        # what the keeper has dropped since it was read stays where it is
        self._db.execute(
            "update outbox set state = 'queued', next_ms = created_ms, replay_ms = ? where payload is not null"
            " and state not in ('leased', 'queued')"
            " and event_id in (select event_id from replay_item where recipient = ? and kept = '')",
            (question.asked_ms, recipient),
        )
        self._db.execute(
            "update replay_item set kept = 'destroyed' where recipient = ? and kept = '' and not exists"
            " (select 1 from outbox where outbox.event_id = replay_item.event_id and state = 'queued')",
            (recipient,),
        )

    def windows_over(self, now_ms: int, limit: int) -> dict[bytes, str]:
        """Events, with their records, whose payload is kept although their window has ended: of what is done, and of
        what is to go out again and is in nobody's hands. At most ``limit`` of each.
        """
        found: dict[bytes, str] = {}
        for over in (_DONE, _AGAIN):
            rows = self._db.execute(
                f"select event_id, record from outbox where {over} order by replay_until_ms, event_id limit ?",
                (*[now_ms] * over.count("?"), limit),
            )
            found |= {bytes(row[0]): row[1] for row in rows}
        return found

    def end_windows(self, event_ids: Iterable[bytes], now_ms: int) -> None:
        """Destroy the payloads of those of which that still holds.

        Whoever has one in the air, and does not write any more, says what became of it all the same.
        """
        names = [(event_id, now_ms) for event_id in event_ids]
        self._db.executemany(f"update outbox set payload = null where event_id = ? and {_DONE}", names)
        self._db.executemany(
            "update outbox set state = case when state = 'leased' then 'unknown' else 'destroyed' end, payload = null"
            f" where event_id = ? and {_AGAIN}",
            [(*each, now_ms) for each in names],
        )

    def question(self, recipient: str) -> Question | None:
        row = self._db.execute(
            "select first, asked_ms, next from replay_question where recipient = ?", (recipient,)
        ).fetchone()
        return Question(bytes(row[0]), row[1], bytes(row[2])) if row else None

    def outcomes(self, recipient: str) -> dict[str, int]:
        """How many events of the last question by what became of them: the words of `ask`, or else ``waiting``,
        ``sent``, ``refused``, ``unknown`` (tried, and nobody said yes or no), ``destroyed`` (ended untried).
        """
        rows = self._db.execute(
            "select case when kept <> '' then kept"
            " when state in ('leased', 'queued') then 'waiting'"
            " when state = 'confirmed' then 'sent'"
            " when state = 'refused' then 'refused'"
            " when outbox.attempts > replay_item.attempts then 'unknown'"
            " else 'destroyed' end as outcome, count(*)"
            " from replay_item join outbox using (event_id) where replay_item.recipient = ?"
            " group by outcome order by outcome",
            (recipient,),
        )
        return dict(rows.fetchall())
