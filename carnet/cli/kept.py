"""What the owner's tool keeps beside the key: every document that it signed, the highest generation it was shown, and
each log's key and largest head.

Law: only ever longer, and on disk before a signed document leaves. A line that a power cut tore is no line, and spoils
no other. The file tells of consents, so that only its owner may read it (0600).

A line is JSON: {"cloud","signed","time_ms","vehicle"} with a token, {"cloud","epoch","generation","time_ms","vehicle"},
or {"checkpoint","cloud","key","origin","time_ms","vehicle"} with a signed note.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from carnet import canonical
from carnet.errors import ConfigError, FormatError
from carnet.ledger.checkpoint import unverified_checkpoint
from carnet.shapes import Kind, Shape, fits

SUFFIX: Final = ".kept"
_PLACE: Final[dict[str, Shape]] = {"cloud": Kind.TEXT, "vehicle": Kind.TEXT, "time_ms": Kind.NUMBER}
_SEEN: Final[Shape] = {**_PLACE, "epoch": Kind.NUMBER, "generation": Kind.NUMBER}
_LOG: Final[Shape] = {**_PLACE, "origin": Kind.TEXT, "key": Kind.TEXT, "checkpoint": Kind.LINES}
_SIGNED: Final[Shape] = {**_PLACE, "signed": Kind.TEXT}


class Kept:
    """The part of the file that is about one cloud (its address) and one vehicle (26 characters).

    ``seen`` is (epoch, generation), the highest, (0, 0) before the first; ``logs`` are key and largest checkpoint of
    each log by its name, the one that was shown last at the end; ``unread`` says what in ``file`` could not be read.
    """

    def __init__(
        self, file: Path, cloud: str, vehicle: str, now_ms: Callable[[], int], fsync: Callable[[int], None] = os.fsync
    ) -> None:
        self.file = file
        self._place = {"cloud": cloud, "vehicle": vehicle}
        self._now_ms = now_ms
        self._fsync = fsync
        self.seen = (0, 0)
        self.unread = ""
        self.logs: dict[str, tuple[str, str]] = {}
        for line in self._lines():
            if (line["cloud"], line["vehicle"]) != (cloud, vehicle):
                continue
            if fits(line, _SEEN):
                self.seen = max(self.seen, (line["epoch"], line["generation"]))
            elif fits(line, _LOG):
                self._put(line["origin"], line["key"], line["checkpoint"])

    def signed(self, token: str) -> None:
        """A document, before it is sent. ConfigError ``kept_unwritable``: then it must not be sent if it widens."""
        self._append({"signed": token})

    def saw(self, epoch: int, generation: int) -> bool:
        """What the cloud shows now; whether it is behind what it has shown before. ConfigError ``kept_unwritable``."""
        if (epoch, generation) > self.seen:
            self.seen = (epoch, generation)
            self._append({"epoch": epoch, "generation": generation})
        return epoch == self.seen[0] and generation < self.seen[1]

    def saw_log(self, origin: str, key: str, checkpoint: str) -> None:
        """A head that is shown to contain all before it. ConfigError ``kept_unwritable``."""
        self._put(origin, key, checkpoint)
        self._append({"origin": origin, "key": key, "checkpoint": checkpoint})

    def log_seen(self) -> tuple[str, int]:
        """Name and size of the log that was shown last; ("", 0) before the first, and if its note cannot be read."""
        for _, note in reversed(self.logs.values()):
            try:
                checkpoint = unverified_checkpoint(note)
            except FormatError:
                break
            return (checkpoint.origin, checkpoint.head.size) if checkpoint.head.size else ("", 0)
        return "", 0

    def _put(self, origin: str, key: str, checkpoint: str) -> None:
        self.logs.pop(origin, None)
        self.logs[origin] = key, checkpoint

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self.file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            self.unread = f"{self.file} cannot be read: {error.strerror}"
            return
        for number, line in enumerate(lines, 1):
            found = _parsed(line)
            if fits(found, _SEEN) or fits(found, _SIGNED) or fits(found, _LOG):
                yield found
            elif line:
                self.unread = f"{self.file}: line {number} cannot be read and is left out"

    def _append(self, what: dict[str, Any]) -> None:
        line = canonical.encode({**self._place, **what, "time_ms": self._now_ms()}) + b"\n"
        try:
            new = not self.file.exists()
            self._write(line)
            if new:
                self._sync_folder()
        except OSError as error:
            raise ConfigError("kept_unwritable", f"{self.file} cannot be written: {error.strerror}") from error

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            size = os.fstat(descriptor).st_size
            # a torn last line ends here: it must not take this one with it
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            data = b"\n" + line if torn else line
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._fsync(descriptor)
        finally:
            os.close(descriptor)

    def _sync_folder(self) -> None:
        folder = os.open(self.file.parent, os.O_RDONLY)
        try:
            self._fsync(folder)
        finally:
            os.close(folder)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
