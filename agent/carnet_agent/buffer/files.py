"""Open the buffer's file; what is corrupt is put aside whole and what can be saved of it is saved.

Law: only what our own signature vouches for comes back.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from carnet.envelope import parse_envelope, verify
from carnet.envelopetype import EnvelopeType
from carnet.errors import Error, UnavailableError
from carnet.hashes import SCHEMA, digest
from carnet.keys import SigningKey
from carnet_agent.buffer.buffer import Buffer
from carnet_agent.buffer.remains import Remains
from carnet_agent.buffer.rows import Saved
from carnet_agent.buffer.tables import check, configure

UNUSABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""What says nothing against the file: put aside for it, an intact buffer would be lost."""
UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)
"""A bad place in the file itself: what can be read elsewhere in it is saved."""


@dataclass(frozen=True, slots=True)
class Opened:
    """``salvaged``: how many rows of a corrupt buffer, of its old stream, are in the new one."""

    buffer: Buffer
    quarantined: bool
    salvaged: int


def open_buffer(
    path: Path, device: bytes, key: SigningKey, random: Callable[[int], bytes], size_bytes_max: int
) -> Opened:
    """The buffer in ``path``, new if there was none. UnavailableError if it is in use or the disk takes nothing."""
    remains = Remains(path)
    try:
        return Opened(Buffer(_connect(path, size_bytes_max), device, key, random, remains.discard), False, 0)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UnavailableError("buffer_in_use", f"{path} is open in another agent") from error
        if error.sqlite_errorcode not in UNREADABLE and error.sqlite_errorcode & 0xFF in UNUSABLE:
            raise UnavailableError("buffer_unwritable", f"{path} cannot be written: {error}") from error
        aside = remains.put_aside()
    except (sqlite3.DatabaseError, _NotIntact):
        aside = remains.put_aside()
    buffer = Buffer(_connect(path, size_bytes_max), device, key, random, remains.discard)
    return Opened(buffer, True, buffer.adopt(*_salvage(aside, device, key)))


class _NotIntact(Exception):
    pass


def _connect(path: Path, size_bytes_max: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        _require_intact(connection, path)
        configure(connection, size_bytes_max)
    except BaseException:
        connection.close()
        raise
    path.chmod(0o600)
    return connection


def _require_intact(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size and not check(connection):
        raise _NotIntact


def _salvage(path: Path, device: bytes, key: SigningKey) -> tuple[list[Saved], dict[bytes, bytes]]:
    """Every row that can be read, waits, and carries our own signature, in its order; and the schemas, by hash."""
    saved: list[Saved] = []
    schemas: dict[bytes, bytes] = {}
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path)) as db:
        with contextlib.suppress(sqlite3.DatabaseError):
            for (document,) in db.execute("select document from schema order by hash"):
                schemas[digest(SCHEMA, bytes(document))] = bytes(document)
        for row in db.execute("select number, priority, samples, envelope from row where acked = 0 order by number"):
            with contextlib.suppress(Error, TypeError):
                one = _saved(db, *row)
                envelope = parse_envelope(one.envelope)
                verify(envelope, key.public)
                readable = sum(part.box is not None for part in envelope.parts)
                # a box without its handle could not be destroyed when its grants end
                complete = envelope.header.type is not EnvelopeType.DATA or readable == len(one.boxes)
                if envelope.header.device == device and complete:
                    saved.append(one)
    return saved, schemas


def _saved(db: sqlite3.Connection, number: int, priority: int, samples: int, envelope: bytes) -> Saved:
    query = "select idx, handle, samples, schema from box where number = ? order by idx"
    return Saved(bytes(envelope), int(priority), int(samples), tuple(db.execute(query, (number,)).fetchall()))
