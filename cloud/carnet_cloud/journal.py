"""The journal of narrowings: outside the database and its backups, fsynced before a withdrawal returns.

Law: a restored backup cannot un-withdraw. At each start, before the first send, every line is applied again; with the
journal missing or of another store, every record stays silent until its owner's tool has confirmed it.

A line whose transaction did not commit (full disk) is pending: its record is silent from that moment, and the sweeper
or the next start applies it.

A line is canonical JSON: {"by","event","record","time_ms"}; the first line names the store's incarnation. A torn last
line (power cut while writing) was never promised to anybody and is cut off.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from carnet import canonical
from carnet.errors import ConfigError, FormatError, UnavailableError

LINE_BYTES_MAX = 512


@dataclass(frozen=True, slots=True)
class Narrowing:
    """``record`` was narrowed by ``event`` (withdraw, pause, revoke, invalidate,
    suspend) at ``time_ms`` of the server.
    """

    record: str
    event: str
    by: str
    time_ms: int


class Journal:
    """Append-only file; ``known`` is False when it was missing or belonged to another store when it was opened.

    A store that does not know it calls `adopt` once it has done what that asks for: a crash before comes here again.
    """

    def __init__(
        self, path: Path, incarnation: bytes, *, new_store: bool, fsync: Callable[[int], None] = os.fsync
    ) -> None:
        self._path = path
        self._fsync = fsync
        self._head = _head(incarnation)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = self._read()
        heads = [line for line in lines if _is_head(line)]
        self._adopted = heads[-1:] == [self._head]
        self.known = new_store or self._adopted
        # what another store narrowed is kept: applying it once more can only silence
        self.narrowings: list[Narrowing] = [_parse(line) for line in lines if not _is_head(line)]
        self._records = {each.record for each in self.narrowings}
        self._applied = 0
        if new_store:
            self.adopt()

    def adopt(self) -> None:
        """From here on the journal is this store's."""
        if not self._adopted:
            self._write(self._head)
            self._sync_folder()
            self._adopted = True

    def append(self, narrowing: Narrowing) -> None:
        """On disk when it returns. Raises UnavailableError: then the narrowing must not be reported as done."""
        line = canonical.encode(
            {"by": narrowing.by, "event": narrowing.event, "record": narrowing.record, "time_ms": narrowing.time_ms}
        )
        try:
            self._write(line)
        except OSError as e:
            raise UnavailableError(
                "journal_unavailable", f"the journal of narrowings cannot be written: {e.strerror}"
            ) from e
        self.narrowings.append(narrowing)
        self._records.add(narrowing.record)

    def names(self, record: str) -> bool:
        """Whether a narrowing of this record was ever written."""
        return record in self._records

    @property
    def pending(self) -> list[Narrowing]:
        """What is written here and, as far as this process knows, not in the store; at first all of it."""
        return self.narrowings[self._applied :]

    def is_pending(self, record: str) -> bool:
        """Whether a narrowing of this record waits for the store: then nothing goes out under it."""
        return any(narrowing.record == record for narrowing in self.pending)

    def applied(self, lines: int) -> None:
        """A commit has applied so many lines."""
        self._applied = max(self._applied, lines)

    def _read(self) -> list[bytes]:
        if not self._path.exists():
            return []
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
                self._fsync(file.fileno())
        return whole.splitlines()

    def _write(self, line: bytes) -> None:
        """Add a whole line or nothing: half a line would make one unreadable line with the next."""
        with FileIO(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                _write_whole(file, line + b"\n")
                self._fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            self._fsync(folder)
        finally:
            os.close(folder)


def _head(incarnation: bytes) -> bytes:
    return canonical.encode({"journal": 1, "store": incarnation.hex()})


def _write_whole(file: FileIO, data: bytes) -> None:
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_head(line: bytes) -> bool:
    return line.startswith(b'{"journal":')


def _parse(line: bytes) -> Narrowing:
    try:
        value = canonical.parse(line, LINE_BYTES_MAX)
        assert isinstance(value, dict)
        return Narrowing(str(value["record"]), str(value["event"]), str(value["by"]), int(str(value["time_ms"])))
    except (FormatError, KeyError, AssertionError, ValueError) as e:
        raise ConfigError(
            "journal_broken", "the journal of narrowings is broken: restore it from its own copy, never delete it"
        ) from e
