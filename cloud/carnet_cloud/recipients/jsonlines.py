"""A file with one CloudEvent a line: for a recipient on the same machine, and for looking.

A line is confirmed once it is on disk; the lines of a group go there with one fsync. Several receivers may append to
one file: from the first line of a group to its end it is one's alone, by a lock that ends with its program. Whoever
takes it looks at what others left: a torn last line is cut off, and an event of the last group is not written again if
its line is whole.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from carnet_cloud.lease import WRITE_BYTES_MAX, Lease, LeaseOver
from carnet_cloud.recipients.base import GROUP_MAX, Event, Outcome, Trouble

TAIL_BYTES = 1 << 23
AGAIN_S = 0.002
"""Another receiver's group is over in the time of an fsync."""


class JsonLines:
    """Appends to ``path``, which is made if it is not there."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._lines: deque[str] = deque(maxlen=GROUP_MAX)
        """Ids of the last lines: what a crash or a store that failed brings again is there already."""
        self._synced = 0
        """The file's size when our last group ended, or this one began."""
        self._is_ours = False
        self._written = 0
        """Events of this group."""
        self.trouble: Trouble | None = None
        """Why the last event that was not confirmed was not."""
        if self._lock():
            self._unlock()

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:  # noqa: ARG002 - a file needs no time stamp
        """Append one line; see `Recipient.send`."""
        try:
            self._wait(lease)
            if event.name not in self._lines:
                self._append(event.body + b"\n", lease)
                self._lines.append(event.name)
            self._written += 1
        except LeaseOver:
            return Outcome.CUT
        except OSError as error:
            self.trouble = _trouble(error)
            return Outcome.RETRY
        finally:
            if not self._written:
                self._unlock()
        return Outcome.WRITTEN

    def finish(self) -> Outcome:
        """One fsync for all lines; if it fails none of them stays."""
        size = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            os.fsync(self._fd)
        except OSError as error:
            self.trouble = _trouble(error)
            os.ftruncate(self._fd, min(size, self._synced))
            self._lines.clear()
            return Outcome.RETRY
        else:
            self._synced = size
            return Outcome.CONFIRMED
        finally:
            self._written = 0
            self._unlock()

    def close(self) -> None:
        os.close(self._fd)

    def _wait(self, lease: Lease) -> None:
        """The file is ours alone afterwards. Raises LeaseOver as the guard does."""
        while not self._is_ours and not self._lock():
            time.sleep(AGAIN_S)
            lease.guard()

    def _lock(self) -> bool:
        """Take the file unless another receiver has it, and see what others wrote."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._is_ours = True
        self._catch_up()
        return True

    def _unlock(self) -> None:
        self._is_ours = False
        fcntl.flock(self._fd, fcntl.LOCK_UN)

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

    def _catch_up(self) -> None:
        """Read what was written since our last group, at most a tail: cut a torn last line, know the whole ones."""
        size = os.lseek(self._fd, 0, os.SEEK_END)
        # a file that is shorter now was cut by somebody, and is read again
        start = max(self._synced if self._synced <= size else 0, size - TAIL_BYTES)
        news = os.pread(self._fd, size - start, start)
        torn = len(news) - (news.rfind(b"\n") + 1)
        if torn:
            os.ftruncate(self._fd, size - torn)
        self._lines += _ids(news[: len(news) - torn].splitlines()[-GROUP_MAX:])
        self._synced = size - torn


def _write_whole(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _ids(lines: list[bytes]) -> Iterator[str]:
    for line in lines:
        try:
            yield str(json.loads(line)["id"])
        except (ValueError, KeyError, TypeError):
            continue


def _trouble(error: OSError) -> Trouble:
    return Trouble("file", f"its file cannot be written: {error.strerror}")
