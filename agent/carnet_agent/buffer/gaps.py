"""Numbers of a stream that will never be sent: coalesced ranges until one sealed gap envelope names them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from carnet_agent.buffer.rows import Lost


def add_gap(db: sqlite3.Connection, stream: bytes, seq: int, reason: str, samples: int) -> None:
    """Name one number; a neighbouring range with the same reason grows instead of a new one."""
    before = db.execute(
        "select first from gap where stream = ? and last = ? and reason = ?", (stream, seq - 1, reason)
    ).fetchone()
    after = db.execute(
        "select last, samples from gap where stream = ? and first = ? and reason = ?", (stream, seq + 1, reason)
    ).fetchone()
    last, total = (after[0], samples + after[1]) if after else (seq, samples)
    if after:
        db.execute("delete from gap where stream = ? and first = ?", (stream, seq + 1))
    if before:
        db.execute(
            "update gap set last = ?, samples = samples + ? where stream = ? and first = ?",
            (last, total, stream, before[0]),
        )
    else:
        db.execute("insert into gap values (?, ?, ?, ?, ?)", (stream, seq, last, reason, total))


def gaps(db: sqlite3.Connection, limit: int) -> list[Lost]:
    """Ranges of one stream, ascending; empty if nothing was lost."""
    rows = db.execute(
        "select stream, first, last, reason, samples from gap where stream = (select min(stream) from gap)"
        " order by first limit ?",
        (limit,),
    )
    return [Lost(*row) for row in rows]


def remove_gaps(db: sqlite3.Connection, ranges: Sequence[Lost]) -> None:
    """They are named in an envelope now."""
    db.executemany("delete from gap where stream = ? and first = ?", [(r.stream, r.first) for r in ranges])
