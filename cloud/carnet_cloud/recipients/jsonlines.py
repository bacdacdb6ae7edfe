"""A file with one CloudEvent a line: for a recipient on the same machine, and for looking.

A line is confirmed once it is on disk; the lines of a group go there with one fsync. After a crash the torn last line
is cut off, and an event of the group that was under way is not written again if its line is whole.
"""

from __future__ import annotations

import errno
import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from carnet_cloud.lease import WRITE_BYTES_MAX, Lease, LeaseOver
from carnet_cloud.recipients.base import GROUP_MAX, Event, Outcome

TAIL_BYTES = 1 << 23


class JsonLines:
    """Appends to ``path``, which is made if it is not there."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._lines = deque(self._mend(), GROUP_MAX)
        """Ids of the last lines: what a crash or a store that failed brings again is there already."""
        self._synced = os.lseek(self._fd, 0, os.SEEK_END)

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:  # noqa: ARG002 - a file needs no time stamp
        """Append one line; see `Recipient.send`."""
        if event.name in self._lines:
            return Outcome.WRITTEN
        try:
            self._append(event.body + b"\n", lease)
        except LeaseOver:
            return Outcome.CUT
        except OSError:
            return Outcome.RETRY
        self._lines.append(event.name)
        return Outcome.WRITTEN

    def finish(self) -> Outcome:
        """One fsync for all lines; if it fails none of them stays."""
        size = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, min(size, self._synced))
            self._lines.clear()
            return Outcome.RETRY
        self._synced = size
        return Outcome.CONFIRMED

    def close(self) -> None:
        os.close(self._fd)

    def _append(self, line: bytes, lease: Lease) -> None:
        """The whole line or nothing of it."""
        start = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            for at in range(0, len(line), WRITE_BYTES_MAX):
                lease.guard()
                _write_whole(self._fd, line[at : at + WRITE_BYTES_MAX])
        except BaseException:
            os.ftruncate(self._fd, start)
            raise

    def _mend(self) -> list[str]:
        """Cut a torn last line; the ids of the last whole ones."""
        size = os.lseek(self._fd, 0, os.SEEK_END)
        tail = os.pread(self._fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        if torn:
            os.ftruncate(self._fd, size - torn)
        return list(_ids(tail[: len(tail) - torn].splitlines()[-GROUP_MAX:]))


def _write_whole(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _ids(lines: list[bytes]) -> Iterator[str]:
    for line in lines:
        try:
            yield str(json.loads(line)["id"])
        except (ValueError, KeyError, TypeError):
            continue
