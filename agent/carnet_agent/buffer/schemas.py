"""Documents of schemas, by hash: here for as long as a row or a checkpoint names them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from carnet_agent.buffer.rows import Dropped


def keep(db: sqlite3.Connection, documents: Mapping[bytes, bytes]) -> None:
    """Store those that are new, and those that were damaged again."""
    db.executemany("insert or replace into schema values (?, ?)", documents.items())


def find(db: sqlite3.Connection, digest: bytes) -> bytes | None:
    """The document, if it is here."""
    row = db.execute("select document from schema where hash = ?", (digest,)).fetchone()
    return row[0] if row and isinstance(row[0], bytes) else None


def hashes(db: sqlite3.Connection) -> list[bytes]:
    """Of all that are here, ascending."""
    return [bytes(row[0]) for row in db.execute("select hash from schema order by hash")]


def rows_naming(db: sqlite3.Connection, digest: bytes) -> list[Dropped]:
    """Every row with a box of this schema, in their order."""
    return db.execute(
        "select number, stream, seq, samples from row where number in"
        " (select number from box where schema = ?) order by number",
        (digest,),
    ).fetchall()


def drop_unused(db: sqlite3.Connection) -> None:
    """Forget those that nothing names."""
    db.execute("delete from schema where hash not in (select schema from box union select schema from checkpoint)")
