"""The store on SQLite: one file, one connection, one writer at a time.

Law: two connections never write one file at once (SQLite 3.7.0 to 3.51.2 can corrupt a WAL that way);
the lock file says so.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from pathlib import Path
from typing import IO

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.store.migrations import STEPS, require_known
from carnet_cloud.store.others import NoOthers
from carnet_cloud.store.turns import Turns

APPLICATION_ID = 0x43524E54  # "CRNT": a file of somebody else is refused, not migrated
COPY_PAGES = 256
COPY_PAUSE_S = 0.001
"""A copy takes turns of a megabyte, and leaves the store to others in between."""
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "temp_store=MEMORY",
    "wal_autocheckpoint=1000",
)


class SqliteStore(Turns):
    """One SQLite database behind a lock: threads take turns, other processes are refused.

    ``connection`` is handed in so that a simulation can keep it in memory; ``open`` makes the one for a file.
    """

    def __init__(self, connection: sqlite3.Connection, *, incarnation: bytes, now_ms: int) -> None:
        super().__init__(connection, NoOthers())
        self._connection = connection
        self._lock_file: IO[bytes] | None = None
        connection.isolation_level = None
        for pragma in PRAGMAS:
            connection.execute(f"pragma {pragma}")
        self._migrate(incarnation, now_ms)

    @classmethod
    def open(cls, path: Path, *, incarnation: bytes, now_ms: int) -> SqliteStore:
        """Open or create the file; ``incarnation`` (16 random bytes) names a store that is new.

        Raises ConfigError when the file is not a store or is newer than this program, UnavailableError when another
        process has it open.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.fdopen(os.open(path.with_suffix(path.suffix + ".lock"), os.O_WRONLY | os.O_CREAT, 0o600), "wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            lock.close()
            raise UnavailableError("store_in_use", f"{path} is open in another process; ask the running service") from e
        # made for its owner alone before anything is in it: the log beside it takes over the same mode
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        connection = sqlite3.connect(path, check_same_thread=False)
        try:
            store = cls(connection, incarnation=incarnation, now_ms=now_ms)
        except BaseException as e:
            connection.close()
            lock.close()
            if isinstance(e, sqlite3.DatabaseError):
                raise ConfigError("store_unreadable", f"{path} is not a store of Carnet: {e}") from e
            raise
        store._lock_file = lock
        return store

    def close(self) -> None:
        with self._turn:
            self._connection.close()
            if self._lock_file is not None:
                self._lock_file.close()

    def _begin(self) -> None:
        try:
            self._connection.execute("begin immediate")
        except sqlite3.OperationalError as e:
            raise UnavailableError("store_unavailable", f"the store cannot be written: {e}") from e

    def _commit(self) -> None:
        self._connection.execute("commit")

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("rollback")

    def _unavailable(self, error: BaseException) -> UnavailableError | None:
        if isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError:
            # full, read-only, damaged: the disk's fault, not the message's
            return UnavailableError("store_unavailable", f"the store cannot be written: {error}")
        return None

    @property
    def incarnation(self) -> bytes:
        row = self._connection.execute("select id from incarnation").fetchone()
        return bytes(row[0])

    def scrub(self) -> None:
        """Write the WAL back and truncate it, so that what was deleted is not left there in plain pages."""
        with self._turn:
            self._connection.execute("pragma wal_checkpoint(truncate)").fetchone()

    def copy_to(self, path: Path) -> None:
        """Copy everything as of the moment of the end into an empty file, in turns with whoever writes meanwhile.

        SQLite's own copy on this very connection: what is committed in between is in it. sqlite3.Error if it fails.
        """

        def let_others(*_: int) -> None:
            self._turn.release()
            time.sleep(COPY_PAUSE_S)
            self._turn.acquire()

        target = sqlite3.connect(path)
        try:
            with self._turn:
                self._connection.backup(target, pages=COPY_PAGES, progress=let_others, sleep=0)
            # one file without a log beside it
            target.execute("pragma journal_mode=delete").fetchone()
        finally:
            target.close()

    def _migrate(self, incarnation: bytes, now_ms: int) -> None:
        application, version = (
            self._connection.execute(f"pragma {p}").fetchone()[0] for p in ("application_id", "user_version")
        )
        if application not in (0, APPLICATION_ID):
            raise ConfigError("store_foreign", "this database belongs to another program")
        require_known(version)
        for step, script in enumerate(STEPS[version:], start=version + 1):
            self._connection.executescript(
                f"begin immediate; {script} pragma user_version={step}; pragma application_id={APPLICATION_ID}; commit;"
            )
        if self._connection.execute("select count(*) from incarnation").fetchone()[0] == 0:
            self._connection.execute("insert into incarnation (id, created_ms) values (?, ?)", (incarnation, now_ms))
