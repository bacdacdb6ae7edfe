"""One transaction on a database of the unit, and what the disk under it can refuse."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from carnet.errors import Error

PRIMARY = 0xFF
"""The part of SQLite's error code that is not detail."""
REFUSALS = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class DiskFailed(Error):
    """The disk took nothing: it is broken, gone, read-only or so full that nobody can make room. The caller counts the
    loss.
    """

    temporary = True


@contextmanager
def transaction(db: sqlite3.Connection, *, can_make_room: bool = False) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT, rolled back whatever goes wrong.

    DiskFailed for what the disk refuses; to who ``can_make_room``, that it is full stays SQLite's own error.
    """
    refusals = REFUSALS if can_make_room else (*REFUSALS, sqlite3.SQLITE_FULL)
    try:
        db.execute("begin immediate")
        yield
        db.execute("commit")
    except BaseException as error:
        if db.in_transaction:
            db.execute("rollback")
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & PRIMARY in refusals:
            what = f"the disk does not take what is written: {error.sqlite_errorname}"
            raise DiskFailed("disk_failed", what) from error
        raise
