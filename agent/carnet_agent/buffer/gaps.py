"""Numbers of the stream that will never be sent: coalesced ranges until one sealed gap envelope names them."""

from __future__ import annotations

import sqlite3

from carnet_agent.buffer.rows import GapRange


def add_gap(db: sqlite3.Connection, seq: int, reason: str, samples: int) -> None:
    """Name one number; a neighbouring range with the same reason grows instead of a new one."""
    before = db.execute("select first from gap where last = ? and reason = ?", (seq - 1, reason)).fetchone()
    after = db.execute(
        "select first, last, samples from gap where first = ? and reason = ?", (seq + 1, reason)
    ).fetchone()
    first = before[0] if before else seq
    last = after[1] if after else seq
    total = samples + (after[2] if after else 0)
    if after:
        db.execute("delete from gap where first = ?", (after[0],))
    if before:
        db.execute("update gap set last = ?, samples = samples + ? where first = ?", (last, total, first))
    else:
        db.execute("insert into gap values (?, ?, ?, ?)", (first, last, reason, total))


def gaps(db: sqlite3.Connection, limit: int) -> list[GapRange]:
    rows = db.execute("select first, last, reason, samples from gap order by first limit ?", (limit,))
    return [GapRange(*row) for row in rows]


def remove_gaps(db: sqlite3.Connection, ranges: list[GapRange]) -> None:
    db.executemany("delete from gap where first = ? and last = ?", [(r.first, r.last) for r in ranges])
