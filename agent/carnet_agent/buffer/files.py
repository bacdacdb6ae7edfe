"""Open the buffer's file; what is corrupt is put aside whole and what can be saved of it is saved.

Law: the three files (database, -wal, -shm) move together, or the old log would come back into the new database.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from carnet.envelope import parse_envelope, verify
from carnet.errors import Error, UnavailableError
from carnet.keys import SigningKey

from carnet_agent.buffer.buffer import Buffer
from carnet_agent.buffer.tables import check, configure

QUARANTINES_KEPT = 2


@dataclass(frozen=True, slots=True)
class Opened:
    """``salvaged``: envelopes of a corrupt buffer whose signature still holds; they are of the old stream."""

    buffer: Buffer
    quarantined: bool
    salvaged: tuple[bytes, ...]


def open_buffer(
    path: Path, device: bytes, key: SigningKey, random: Callable[[int], bytes], size_bytes_max: int
) -> Opened:
    """The buffer in ``path``, new if there was none. UnavailableError if another agent has it open or the disk is read-only."""
    try:
        return Opened(Buffer(_connect(path, size_bytes_max), device, key, random), False, ())
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UnavailableError("buffer_in_use", f"{path} is open in another agent") from error
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL):
            raise UnavailableError("buffer_unwritable", f"{path} cannot be written: {error}") from error
        aside = _quarantine(path)
    except (sqlite3.DatabaseError, _NotIntact):
        aside = _quarantine(path)
    saved = tuple(_salvage(aside, device, key))
    return Opened(Buffer(_connect(path, size_bytes_max), device, key, random), True, saved)


class _NotIntact(Exception):
    pass


def _connect(path: Path, size_bytes_max: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        if path.stat().st_size and not check(connection):
            raise _NotIntact
        configure(connection, size_bytes_max)
    except BaseException:
        connection.close()
        raise
    path.chmod(0o600)
    return connection


def _quarantine(path: Path) -> Path:
    """Rename the three files to the first free number; the oldest beyond two quarantines go."""
    number = 1 + max(
        (int(p.suffix[1:]) for p in path.parent.glob(path.name + ".quarantine.*") if p.suffix[1:].isdigit()), default=0
    )
    aside = path.with_name(f"{path.name}.quarantine.{number}")
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    for old in path.parent.glob(f"{path.name}.quarantine.*"):
        text = old.name.rsplit(".", 1)[1].split("-")[0]
        if text.isdigit() and int(text) <= number - QUARANTINES_KEPT:
            old.unlink()
    return aside


def _salvage(path: Path, device: bytes, key: SigningKey) -> list[bytes]:
    """Every envelope that can still be read and carries our own signature."""
    saved: list[bytes] = []
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path)) as connection:
        for (data,) in connection.execute("select envelope from row where acked = 0 order by seq"):
            with contextlib.suppress(Error, TypeError):
                envelope = parse_envelope(data)
                verify(envelope, key.public)
                if envelope.header.device == device:
                    saved.append(data)
    return saved
