"""One transaction on a database of the unit, and what the disk under it can refuse."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from carnet.errors import Error

PRIMARY = 0xFF
"""The part of SQLite's error code that is not detail."""
UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)
"""A bad place in the file itself: what can be read elsewhere in it is saved."""
REFUSALS = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def is_damage(error: BaseException) -> bool:
    """Whether an error of SQLite speaks against a file that it has read from, and not against the disk or the words."""
    code = code_of(error)
    return code in UNREADABLE or code & PRIMARY in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def code_of(error: BaseException) -> int:
    """SQLite's own, with its detail; 0 where it has none, as for a text that cannot be decoded."""
    return int(getattr(error, "sqlite_errorcode", 0))


class DiskFailed(Error):
    """The disk took nothing: it is broken, gone, read-only or so full that nobody can make room. The caller counts the
    loss.
    """

    temporary = True


@contextmanager
def transaction(db: sqlite3.Connection, *, can_make_room: bool = False) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT, rolled back whatever goes wrong.

    DiskFailed for what the disk refuses; to who ``can_make_room``, that it is full stays SQLite's own error, and what
    it has damaged (`is_damage`) always does.
    """
    refusals = REFUSALS if can_make_room else (*REFUSALS, sqlite3.SQLITE_FULL)
    try:
        db.execute("begin immediate")
        yield
        db.execute("commit")
    except BaseException as error:
        if db.in_transaction:
            db.execute("rollback")
        if code_of(error) & PRIMARY not in refusals or is_damage(error):
            raise
        what = f"the disk does not take what is written: {getattr(error, 'sqlite_errorname', '')}"
        raise DiskFailed("disk_failed", what) from error
