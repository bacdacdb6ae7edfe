"""What was put aside of a damaged buffer: kept for whoever looks into it, until a consent ends.

Law: the three files (database, -wal, -shm) move together, or the old log would come back into the new database. Law 3:
they hold sealed boxes of every record that the buffer knew and cannot be destroyed box by box, so they go whole.
"""

from __future__ import annotations

from pathlib import Path

from carnet_agent.identity import sync_folder

KEPT = 2
_LOGS = ("-wal", "-shm")


class Remains:
    """Of the buffer in ``path``; they lie beside it as ``<name>.quarantine.<number>``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put_aside(self) -> None:
        """Rename the three files to the next number; the oldest beyond `KEPT` go.

        The database goes first: logs without one are then known to belong to the newest number (`complete`).
        """
        number = 1 + max((found for found, _ in self._files()), default=0)
        self._path.rename(self._aside(number))
        self._move_logs(number)
        for found, file in self._files():
            if found <= number - KEPT:
                file.unlink()
        sync_folder(self._path.parent)

    def complete(self) -> None:
        """Move the logs that a crash in `put_aside` left behind after their database, before there is a new one."""
        if self._path.exists():
            return
        newest = max(self.databases(), default=0)
        if newest:
            self._move_logs(newest)
            sync_folder(self._path.parent)

    def databases(self) -> dict[int, Path]:
        """Every database that was put aside, by its number."""
        return {number: file for number, file in self._files() if file == self._aside(number)}

    def discard(self) -> None:
        """Delete all of it; returns when the folder says so on the disk. OSError if it cannot be deleted."""
        files = self._files()
        for _, file in files:
            file.unlink()
        if files:
            sync_folder(self._path.parent)

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.quarantine.{number}")

    def _move_logs(self, number: int) -> None:
        aside = self._aside(number)
        for suffix in _LOGS:
            source = self._path.with_name(self._path.name + suffix)
            if source.exists():
                source.rename(aside.with_name(aside.name + suffix))

    def _files(self) -> list[tuple[int, Path]]:
        """Every file that was put aside, with its number; logs as well."""
        found = []
        for file in self._path.parent.glob(f"{self._path.name}.quarantine.*"):
            number = file.name.rsplit(".", 1)[1].split("-")[0]
            if number.isdigit():
                found.append((int(number), file))
        return found
