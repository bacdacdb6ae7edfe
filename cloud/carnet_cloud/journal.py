"""The journal of narrowings: outside the database and its backups, fsynced before a withdrawal returns.

Law: a restored backup cannot un-withdraw. At each start, before the first send, every line is applied again; with the
journal missing, of another store, or not beginning with the lines that the store has applied, every record stays silent
until its owner's tool has confirmed it.

A line whose transaction did not commit (full disk) is pending: its record is silent from that moment, and the sweeper
or the next start applies it.

Several programs on one store share the file; whoever appends holds the store's lock for narrowings and has read what
the others wrote.

A line is canonical JSON: {"by","event","record","time_ms"}; the first line names the store's incarnation. A torn last
line (power cut while writing) was never promised to anybody and is cut off.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from carnet import canonical
from carnet.errors import ConfigError, FormatError, UnavailableError

LINE_BYTES_MAX = 512
DIGEST_BYTES = 16


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
    """Append-only file; ``known`` is False when it was missing or belonged to another store when it was opened,
    and until it is adopted.

    A store that does not know it calls `adopt` once it has done what that asks for: a crash before comes here again.
    """

    def __init__(
        self, path: Path, incarnation: bytes, *, new_store: bool, fsync: Callable[[int], None] = os.fsync
    ) -> None:
        self._path = path
        self._fsync = fsync
        self._head = _head(incarnation)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.narrowings: list[Narrowing] = []
        """Of another store too: applying what it narrowed once more can only silence."""
        self._digests = [b""]
        """Of the first so many lines."""
        self._records: set[str] = set()
        self._adopted = False
        self._size = 0
        """How much of the file has been read."""
        self._applied = 0
        self._mend()
        self.refresh()
        self.known = new_store or self._adopted
        if new_store:
            self.adopt()

    def adopt(self) -> None:
        """From here on the journal is this store's."""
        if not self._adopted:
            self._write(self._head)
            self._sync_folder()
            self.refresh()
        self.known = True

    def append(self, *narrowings: Narrowing) -> None:
        """On disk, all of them, when it returns. Raises UnavailableError: then none may be reported as done."""
        lines = b"\n".join(
            canonical.encode({"by": one.by, "event": one.event, "record": one.record, "time_ms": one.time_ms})
            for one in narrowings
        )
        if not lines:
            return
        try:
            self._write(lines)
        except OSError as e:
            raise UnavailableError(
                "journal_unavailable", f"the journal of narrowings cannot be written: {e.strerror}"
            ) from e
        self.refresh()

    def refresh(self) -> None:
        """Read what other programs on the same store have written. UnavailableError if lines are missing now."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size == self._size:
            return
        with self._locked(os.O_RDONLY, fcntl.LOCK_SH) as file:
            data = os.pread(file.fileno(), max(0, os.fstat(file.fileno()).st_size - self._size), self._size)
        if size < self._size:
            raise UnavailableError("journal_shrunk", "the journal of narrowings has lost lines: restore it")
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._take(line)
        self._size += len(whole)

    def _take(self, line: bytes) -> None:
        if _is_head(line):
            self._adopted = line == self._head
            return
        narrowing = _parse(line)
        self.narrowings.append(narrowing)
        self._digests.append(hashlib.blake2b(self._digests[-1] + line, digest_size=DIGEST_BYTES).digest())
        self._records.add(narrowing.record)

    def digest(self, lines: int) -> bytes:
        """Tells the first so many lines from any others."""
        return self._digests[lines]

    def covers(self, lines: int, digest: bytes) -> bool:
        """Whether what a store has applied is the beginning of this journal: else lines of one of them are missing.

        An empty ``digest`` is of a store that did not write it down yet.
        """
        self.refresh()
        return self.known and lines <= len(self.narrowings) and digest in (b"", self.digest(lines))

    def names(self, record: str) -> bool:
        """Whether a narrowing of this record was ever written."""
        self.refresh()
        return record in self._records

    @property
    def pending(self) -> list[Narrowing]:
        """What is written here and, as far as this process knows, not in the store; at first all of it."""
        return self.narrowings[self._applied :]

    def is_pending(self, record: str) -> bool:
        """Whether a narrowing of this record waits for the store: then nothing goes out under it."""
        self.refresh()
        return any(narrowing.record == record for narrowing in self.pending)

    def applied(self, lines: int) -> None:
        """A commit has applied so many lines."""
        self._applied = max(self._applied, lines)

    def returned(self, lines: int, digest: bytes) -> None:
        """The store is back and has applied no more than these lines: it may be from before the others.

        UnavailableError if they are not of this journal: what the store lacks only a start can silence.
        """
        if not self.covers(lines, digest):
            raise UnavailableError(
                "journal_other", "the store comes from before this journal was begun: start this program again"
            )
        self._applied = min(self._applied, lines)

    def _mend(self) -> None:
        """Cut off a torn last line."""
        if not self._path.exists():
            return
        with self._locked(os.O_RDWR, fcntl.LOCK_EX) as file:
            if _cut_torn(file):
                self._fsync(file.fileno())

    def _write(self, lines: bytes) -> None:
        """Add whole lines or nothing: half a line would make one unreadable line with the next, also the half that
        another program left which has ended since.
        """
        with self._locked(os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as file:
            _cut_torn(file)
            size = os.fstat(file.fileno()).st_size
            try:
                _write_whole(file, lines + b"\n")
                self._fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise

    @contextmanager
    def _locked(self, flags: int, how: int) -> Iterator[FileIO]:
        """The file, while no other program is between a write and its end."""
        mode = "r" if flags == os.O_RDONLY else "r+" if flags == os.O_RDWR else "a"
        with FileIO(os.open(self._path, flags, 0o600), mode) as file:
            fcntl.flock(file, how)
            yield file

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            self._fsync(folder)
        finally:
            os.close(folder)


def _head(incarnation: bytes) -> bytes:
    return canonical.encode({"journal": 1, "store": incarnation.hex()})


def _cut_torn(file: FileIO) -> bool:
    """Cut off a last line without its end; whether there was one."""
    size = os.fstat(file.fileno()).st_size
    tail = os.pread(file.fileno(), LINE_BYTES_MAX, max(0, size - LINE_BYTES_MAX))
    if b"\n" not in tail:
        # longer than any line: whatever a power cut has left
        tail = os.pread(file.fileno(), size, 0)
    torn = len(tail) - (tail.rfind(b"\n") + 1)
    if torn:
        file.truncate(size - torn)
    return torn > 0


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
