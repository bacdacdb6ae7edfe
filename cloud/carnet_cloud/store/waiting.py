"""What waits in the store, in numbers: for whoever watches.

Law: no question reads a payload's page for each event that waits. Counts read an index (12 ms for 200,000 events), ages
a thousand rows; what is told of more is a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from carnet_cloud.store.database import Database

HELD_COUNTED_MAX = 10_000
NEXT_ONES = 1000


@dataclass(frozen=True, slots=True)
class Queue:
    """What a recipient has to come. ``oldest_ms``: when the oldest of the next ones was made; None if none waits."""

    recipient: str
    queued: int
    leased: int
    oldest_ms: int | None


class Waiting:
    """Counts; changes nothing."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def queue(self, recipient: str) -> Queue:
        """From an index; the oldest is looked for among those whose turn comes next, which is nearly always it.

        What was tried in vain comes again within an hour, so these are a fair part of all that waits.
        """
        count = "select count(*) from outbox where recipient = ? and state = ?"
        queued, leased = (self._db.execute(count, (recipient, state)).fetchone()[0] for state in ("queued", "leased"))
        oldest = self._db.execute(
            "select min(created_ms) from (select created_ms from outbox where recipient = ? and state = 'queued'"
            " order by next_ms, event_id limit ?) as following",
            (recipient, NEXT_ONES),
        ).fetchone()[0]
        return Queue(recipient, int(queued), int(leased), oldest)

    def held(self) -> int:
        """Envelopes that wait for their time, at most HELD_COUNTED_MAX."""
        few = "select count(*) from (select 1 from held limit ?) as few"
        return int(self._db.execute(few, (HELD_COUNTED_MAX,)).fetchone()[0])
