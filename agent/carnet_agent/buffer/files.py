"""Open the buffer's file; what is corrupt is put aside whole and what can be saved of it is saved.

Law: a start that finds a salvage unfinished, whatever the crash was in the middle of, takes it up again. A start looks
through a large file whole only when it is in doubt: from a card that takes seconds, in which nothing is collected.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from carnet.errors import UnavailableError
from carnet.keys import SigningKey
from carnet_agent.buffer.buffer import Buffer
from carnet_agent.buffer.remains import Remains
from carnet_agent.buffer.salvage import Wreck
from carnet_agent.buffer.tables import BESIDE_ROWS, THOROUGH, WHOLE, check, configure
from carnet_agent.buffer.transaction import PRIMARY, UNREADABLE, code_of
from carnet_agent.identity import sync_folder

UNUSABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""What says nothing against the file: put aside for it, an intact buffer would be lost."""
WHOLE_BYTES: Final = 16 << 20
"""What a card reads in half a second."""


@dataclass(frozen=True, slots=True)
class Opened:
    """``salvaged``: how many rows of a corrupt buffer, of its old stream, came into the new one at this start."""

    buffer: Buffer
    quarantined: bool
    salvaged: int


def open_buffer(
    path: Path, device: bytes, key: SigningKey, random: Callable[[int], bytes], size_bytes_max: int
) -> Opened:
    """The buffer in ``path``, new if there was none. UnavailableError if it is in use or the disk takes nothing."""
    remains = Remains(path)
    remains.complete()

    def made() -> Buffer:
        return Buffer(_connect(path, size_bytes_max), device, key, random, remains.discard)

    buffer = _intact(made, path)
    quarantined = buffer is None
    if buffer is None:
        remains.put_aside()
        buffer = made()
    _doubt(path).unlink(missing_ok=True)
    return Opened(buffer, quarantined, _take_up(buffer, remains, device, key))


def doubt(path: Path) -> None:
    """What lies in ``path`` was found damaged while it was in use: the next start looks through all of it."""
    with contextlib.suppress(OSError):
        _doubt(path).touch(mode=0o600)
        sync_folder(path.parent)


def _doubt(path: Path) -> Path:
    return path.with_name(f"{path.name}.doubt")


def _intact(made: Callable[[], Buffer], path: Path) -> Buffer | None:
    """The buffer in the file that is there; None if it is damaged."""
    try:
        return made()
    except sqlite3.OperationalError as error:
        code = code_of(error)
        if code & PRIMARY in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UnavailableError("buffer_in_use", f"{path} is open in another agent") from error
        if code not in UNREADABLE and code & PRIMARY in UNUSABLE:
            raise UnavailableError("buffer_unwritable", f"{path} cannot be written: {error}") from error
        return None
    except (sqlite3.DatabaseError, UnicodeDecodeError, _NotIntact):
        return None


def _take_up(buffer: Buffer, remains: Remains, device: bytes, key: SigningKey) -> int:
    """Save what was put aside and is not yet in the buffer; how many rows."""
    databases = remains.databases()
    due = buffer.salvages.due(databases)
    if not due:
        return 0
    if not buffer.salvages.begin():
        return buffer.adopt([], {}, due[-1])
    wreck = Wreck([databases[number] for number in due], device, key)
    count = buffer.adopt(wreck, wreck.schemas, due[-1])
    # as much as was saved lies in the log as well, which keeps its size
    buffer.scrub()
    return count


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
    size_bytes = path.stat().st_size
    looks = THOROUGH if _doubt(path).exists() else WHOLE if size_bytes <= WHOLE_BYTES else BESIDE_ROWS
    if size_bytes and not check(connection, looks):
        raise _NotIntact
