"""The unit's own list of what was sealed for whom: by day and record, readable in the car without cloud and account.

Law: it names records, counts and days, and no reading. A box of several records counts for each of them. What was
destroyed or evicted later was sealed all the same; of destruction the receipts tell.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from carnet.ids import RECORD, format_id
from carnet_agent.buffer import Buffer
from carnet_agent.buffer.sealed import KEEP_DAYS
from carnet_agent.consent.store import GrantStore

WALL_MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def day_of(wall_ms: int | None, *, back_days: int = 0) -> str:
    """The day in UTC, or the one so many days before; empty without the time, or with one that no calendar has: an
    answer may name the end of time.
    """
    if not wall_ms or wall_ms > WALL_MS_MAX:
        return ""
    return (datetime.fromtimestamp(wall_ms / 1000, UTC) - timedelta(days=back_days)).date().isoformat()


def sealed_for(buffer: Buffer, store: GrantStore) -> list[dict[str, object]]:
    """Day, record, boxes and samples; by day, then by record."""
    found: dict[tuple[str, str], list[int]] = {}
    living = [(one, store.records_of(one.handle)) for one in buffer.sealed.all()]
    for one, records in [*living, *store.kept_sealed()]:
        for record in records:
            counts = found.setdefault((one.day, format_id(RECORD, record)), [0, 0])
            counts[0] += one.boxes
            counts[1] += one.samples
    return [
        {"day": day, "record": record, "boxes": boxes, "samples": samples}
        for (day, record), (boxes, samples) in sorted(found.items())
    ]


def keep(buffer: Buffer, store: GrantStore, gone: set[bytes], earliest_ms: int) -> None:
    """Handles go: what was sealed under them is kept under the names of their records, in one transaction with that.
    ``earliest_ms``: it is surely not before then; 0 if nobody knows.

    A crash before the buffer forgets its half changes nothing: a handle that nobody knows is counted there no more.
    """
    oldest = day_of(earliest_ms, back_days=KEEP_DAYS)
    mine = [(one, store.records_of(one.handle)) for one in buffer.sealed.all() if one.handle in gone]
    store.forget_handles(gone, mine, oldest)
    buffer.sealed.forget(gone, oldest)
