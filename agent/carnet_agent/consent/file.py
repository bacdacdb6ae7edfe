"""Open the unit's consents; a file that is damaged is put aside, and then nothing is collected until somebody says so.

Law: what cannot be read allows nothing. The driver's mode and the ceiling that was set at the car may have been the
narrowest, so they are set to that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from carnet.errors import UnavailableError
from carnet.ownerkeys import OwnerKeys
from carnet_agent.consent.store import GrantStore, check, configure

ASIDE = ".damaged"
DAMAGED = (
    "the consents were damaged and are put aside; mode and ceiling let nothing through: set them with"
    " carnet-agent mode and carnet-agent ceiling"
)
"""What whoever opened them says."""
UNUSABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def open_consents(path: Path, owner: OwnerKeys, random: Callable[[int], bytes]) -> tuple[GrantStore, bool]:
    """The consents in ``path`` and whether a damaged file was put aside.

    UnavailableError ``consents_in_use`` or ``consents_unwritable``: nothing is wrong with the file.
    """
    try:
        connection = _connect(path)
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise UnavailableError("consents_in_use", f"{path} is open in another program") from error
        if code in UNUSABLE:
            raise UnavailableError("consents_unwritable", f"{path} cannot be written: {error}") from error
        connection = None
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        connection = None
    damaged = connection is None
    if connection is None:
        _put_aside(path)
        connection = _connect(path)
        assert connection is not None
    store = GrantStore(connection, owner, random)
    if path.with_name(path.name + ASIDE).exists() and not store.has_mode:
        # put aside now, or by a start that lost its power before it could say so
        store.allow_nothing()
    return store, damaged


def _connect(path: Path) -> sqlite3.Connection | None:
    """A configured connection; None if the file is not an intact one of ours."""
    connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        intact = check(connection)
        if intact:
            configure(connection)
            path.chmod(0o600)
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def _put_aside(path: Path) -> None:
    """The database and its log move together, or the old log would come back into the new database."""
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.replace(path.with_name(path.name + ASIDE + suffix))
