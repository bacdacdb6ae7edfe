"""The journal of narrowings: outside the database and its backups, fsynced before a withdrawal returns.

Law: a restored backup cannot un-withdraw. At each start, before the first send, every line is applied again; with the
journal missing or of another store, every record stays silent until its owner's tool has confirmed it.

A line is canonical JSON: {"by","event","record","time_ms"}; the first line names the store's incarnation. A torn last
line (power cut while writing) was never promised to anybody and is cut off.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

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
    """Append-only file; ``known`` is False when it was missing or belonged to another store when it was opened."""

    def __init__(
        self, path: Path, incarnation: bytes, *, new_store: bool, fsync: Callable[[int], None] = os.fsync
    ) -> None:
        self._path = path
        self._fsync = fsync
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = self._read()
        head = _head(incarnation)
        self.known = new_store or (bool(lines) and lines[0] == head)
        self.narrowings: tuple[Narrowing, ...] = tuple(_parse(line) for line in lines[1:]) if lines else ()
        if not lines:
            self._write(path.open("wb"), head)
            self._sync_folder()
        elif not self.known:
            # keep what the other store narrowed: applying it once more can only silence
            self._write(path.open("ab"), head)

    def append(self, narrowing: Narrowing) -> None:
        """On disk when it returns. Raises UnavailableError: then the narrowing must not be reported as done."""
        line = canonical.encode(
            {"by": narrowing.by, "event": narrowing.event, "record": narrowing.record, "time_ms": narrowing.time_ms}
        )
        try:
            self._write(self._path.open("ab"), line)
        except OSError as e:
            raise UnavailableError(
                "journal_unavailable", f"the journal of narrowings cannot be written: {e.strerror}"
            ) from e
        self.narrowings = (*self.narrowings, narrowing)

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

    def _write(self, file: IO[bytes], line: bytes) -> None:
        with file:
            file.write(line + b"\n")
            file.flush()
            self._fsync(file.fileno())

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            self._fsync(folder)
        finally:
            os.close(folder)


def _head(incarnation: bytes) -> bytes:
    return canonical.encode({"journal": 1, "store": incarnation.hex()})


def _parse(line: bytes) -> Narrowing:
    try:
        value = canonical.parse(line, LINE_BYTES_MAX)
        if isinstance(value, dict) and "journal" in value:
            return Narrowing("", "opened", "", 0)
        assert isinstance(value, dict)
        return Narrowing(str(value["record"]), str(value["event"]), str(value["by"]), int(str(value["time_ms"])))
    except (FormatError, KeyError, AssertionError, ValueError) as e:
        raise ConfigError(
            "journal_broken", "the journal of narrowings is broken: restore it from its own copy, never delete it"
        ) from e
