"""A file with one CloudEvent a line: for a recipient on the same machine, and for looking.

A line is confirmed once it is on disk. After a crash the torn last line is cut off, and an event whose line is the last
one is not written again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from carnet_cloud.lease import WRITE_BYTES_MAX, Lease, LeaseOver
from carnet_cloud.recipients.base import Event, Outcome

TAIL_BYTES = 1 << 20


class JsonLines:
    """Appends to ``path``, which is made if it is not there."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._last = self._mend()

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:  # noqa: ARG002 - a file needs no time stamp
        """Append one line; see `Recipient.send`."""
        if event.name == self._last:
            return Outcome.CONFIRMED
        start = os.lseek(self._fd, 0, os.SEEK_END)
        line = event.body + b"\n"
        try:
            for at in range(0, len(line), WRITE_BYTES_MAX):
                lease.guard()
                os.write(self._fd, line[at : at + WRITE_BYTES_MAX])
            os.fsync(self._fd)
        except LeaseOver:
            os.ftruncate(self._fd, start)
            return Outcome.CUT
        except OSError:
            os.ftruncate(self._fd, start)
            return Outcome.RETRY
        self._last = event.name
        return Outcome.CONFIRMED

    def close(self) -> None:
        os.close(self._fd)

    def _mend(self) -> str:
        """Cut a torn last line; the id of the last whole one."""
        size = os.lseek(self._fd, 0, os.SEEK_END)
        tail = os.pread(self._fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        if torn:
            os.ftruncate(self._fd, size - torn)
        lines = tail[: len(tail) - torn].splitlines()
        if not lines:
            return ""
        try:
            return str(json.loads(lines[-1])["id"])
        except (ValueError, KeyError, TypeError):
            return ""
