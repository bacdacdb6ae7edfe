"""What was put aside of a damaged buffer: kept for whoever looks into it, until a consent ends.

Law: the three files (database, -wal, -shm) move together, or the old log would come back into the new database. Law 3:
they hold sealed boxes of every record that the buffer knew and cannot be destroyed box by box, so they go whole.
"""

from __future__ import annotations

from pathlib import Path

from carnet_agent.identity import sync_folder

KEPT = 2


class Remains:
    """Of the buffer in ``path``; they lie beside it as ``<name>.quarantine.<number>``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put_aside(self) -> Path:
        """Rename the three files to the next number; the oldest beyond `KEPT` go. Where the database is now."""
        number = 1 + max((found for found, _ in self._files()), default=0)
        aside = self._path.with_name(f"{self._path.name}.quarantine.{number}")
        for suffix in ("", "-wal", "-shm"):
            source = self._path.with_name(self._path.name + suffix)
            if source.exists():
                source.rename(aside.with_name(aside.name + suffix))
        for found, file in self._files():
            if found <= number - KEPT:
                file.unlink()
        return aside

    def discard(self) -> None:
        """Delete all of it; returns when the folder says so on the disk. OSError if it cannot be deleted."""
        files = self._files()
        for _, file in files:
            file.unlink()
        if files:
            sync_folder(self._path.parent)

    def _files(self) -> list[tuple[int, Path]]:
        """Every file that was put aside, with its number; logs as well."""
        found = []
        for file in self._path.parent.glob(f"{self._path.name}.quarantine.*"):
            number = file.name.rsplit(".", 1)[1].split("-")[0]
            if number.isdigit():
                found.append((int(number), file))
        return found
