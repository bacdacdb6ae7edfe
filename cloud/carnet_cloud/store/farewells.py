"""Consents that have ended and whose recipient still shows what it got under them."""

from __future__ import annotations

from carnet_cloud import spans
from carnet_cloud.store.database import Database

_ENDED = "state in ('withdrawn', 'revoked', 'terminated', 'invalidated', 'expired')"
"""Nothing of them is under way any more."""


class Farewells:
    """Of recipients that can be told to forget; each record once."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def due(self, recipient: str, now_ms: int) -> str | None:
        """A record of the recipient that has ended and that it was not yet told to forget.

        Not while something of it is on its way: what becomes of it says what there is to forget. Nor while a lease runs
        that its end has cut: whoever has it may be writing still.
        """
        row = self._db.execute(
            f"select id from record where recipient = ? and forgotten_ms is null and ({_ENDED} or expires_ms <= ?)"
            " and not exists (select 1 from outbox where outbox.record = record.id"
            " and (outbox.state in ('leased', 'queued') or outbox.state = 'unknown' and outbox.lease_until_ms > ?))"
            " order by id limit 1",
            (recipient, now_ms, now_ms),
        ).fetchone()
        return row[0] if row else None

    def paths(self, record: str) -> set[str]:
        """Every path that the recipient has, or may have, under the record: it may have refused an event in part."""
        rows = self._db.execute(
            "select distinct counts from delivery where record = ? and outcome in ('confirmed', 'unknown', 'refused')"
            " order by counts",
            (record,),
        )
        return {path for row in rows for span in spans.read(row[0], 0, 0) for path in span.counts}

    def done(self, record: str, now_ms: int) -> None:
        """It has been told."""
        self._db.execute("update record set forgotten_ms = ? where id = ?", (now_ms, record))
