"""Shell: a copy of the store while it is in use, and a store from a copy.

Law: the file of a store in use has one connection, so the running service makes the copy; journal and wrapping keys
stay out of it, so that no copy brings back what an owner has withdrawn. Nothing is ever overwritten.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.config import StoreSection
from carnet_cloud.store import SqliteStore, Store
from carnet_cloud.store.migrations import STEPS
from carnet_cloud.store.sqlite import APPLICATION_ID


def file_of(section: StoreSection) -> Path:
    """The file of the store. ConfigError if it is none of ours to copy."""
    if section.path is None:
        raise ConfigError("backup_elsewhere", "a store on PostgreSQL is copied by pg_dump, see docs/operations.md")
    return section.path


def spool_of(store: Path) -> Path:
    """Where the service puts a copy: beside the store, the only place where it may write. No request names a path."""
    return store.with_suffix(store.suffix + ".backup")


class Spool:
    """The running service's side: one copy at a time."""

    def __init__(self, store: Store, path: Path | None) -> None:
        """``path`` of a store that is a file."""
        self._store = store
        self._path = path and spool_of(path)
        self._turn = threading.Lock()

    def fill(self) -> int:
        """Make the copy that the command then takes; its bytes. UnavailableError while another is made."""
        path = self._path
        if path is None or not isinstance(self._store, SqliteStore):
            raise UnavailableError("backup_elsewhere", "a store on PostgreSQL is copied by pg_dump, not by its service")
        if not self._turn.acquire(blocking=False):
            raise UnavailableError("backup_busy", "a backup is being made: ask again when it is done")
        try:
            path.unlink(missing_ok=True)
            copy(self._store, path)
            return path.stat().st_size
        finally:
            self._turn.release()


def copy(store: SqliteStore, path: Path) -> None:
    """A copy as of one moment, whole and on the disk or not there. UnavailableError if it cannot be written."""
    part = path.with_suffix(path.suffix + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        store.copy_to(part)
        place(part, path)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UnavailableError("backup_failed", f"{path} cannot be written: {error}") from error


def take(store: Path, file: Path) -> None:
    """Move the service's copy to ``file``, which may lie on another disk."""
    spool = spool_of(store)
    _copy_file(spool, file)
    spool.unlink()


def put(file: Path, store: Path) -> None:
    """Make ``store`` from a copy. ConfigError if there is a store already, or a log of one that is gone."""
    check(file)
    for path in (store, store.with_name(store.name + "-wal"), spool_of(store)):
        if path.exists():
            raise ConfigError("store_exists", f"{path} exists: a store is never overwritten, move it away first")
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(store):
        _copy_file(file, store)


def _copy_file(source: Path, target: Path) -> None:
    part = target.with_suffix(target.suffix + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with source.open("rb") as copied, os.fdopen(descriptor, "wb") as written:
            shutil.copyfileobj(copied, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
        place(part, target)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UnavailableError("backup_failed", f"{target} cannot be written: {error.strerror}") from error


def check(file: Path) -> int:
    """The version of the store in a copy; ConfigError if it is none, is damaged, or is newer than this program."""
    if not file.is_file():
        raise ConfigError("file_missing", f"{file} cannot be read: there is no such file")
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            application, version = (
                connection.execute(f"pragma {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            sound = connection.execute("pragma integrity_check(1)").fetchone()[0] == "ok"
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ConfigError("backup_damaged", f"{file} is no store of Carnet, or is damaged: {error}") from error
    if application != APPLICATION_ID or not sound:
        raise ConfigError("backup_damaged", f"{file} is no store of Carnet, or is damaged")
    if version > len(STEPS):
        raise ConfigError(
            "store_newer", f"{file} has version {version}, this program knows {len(STEPS)}: update Carnet"
        )
    return int(version)


def place(part: Path, path: Path) -> None:
    """Give a whole file its name, and keep that over a power cut. Both lie in one folder."""
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """As the store's own lock: no service begins meanwhile."""
    with store.with_suffix(store.suffix + ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UnavailableError(
                "store_in_use", f"{store} is open in another process: stop the service first"
            ) from error
        yield
