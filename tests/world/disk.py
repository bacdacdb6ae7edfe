"""A machine's disk with SQLite databases on it: a power cut takes it back to what was committed, a lying one further.

Law: only whole transactions survive; cuts inside a write are the business of other tests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from tests.world.clockwork import PowerCut

IMAGES_KEPT = 8


class Connection(sqlite3.Connection):
    """Says when it commits."""

    before_commit: Callable[[], None] | None = None
    after_commit: Callable[[], None] | None = None

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql != "commit":
            return super().execute(sql, parameters)
        if self.before_commit is not None:
            self.before_commit()
        done = super().execute(sql, parameters)
        if self.after_commit is not None:
            self.after_commit()
        return done


class Disk:
    """Databases by name."""

    def __init__(self) -> None:
        self._open: dict[str, Connection] = {}
        self._images: dict[str, bytes] = {}
        self._kept: list[tuple[int, dict[str, bytes]]] = []
        self._cut_in: int | None = None
        self._cut_after = False
        self.is_full = False
        """Another program has taken the last block: nothing more can be written."""

    def open(self, name: str, blank: bytes = b"") -> Connection:
        """The database as it was when the power went; ``blank`` is the image of one that is new."""
        image = self._images.get(name, blank)
        connection = sqlite3.connect(":memory:", factory=Connection, check_same_thread=False)
        if image:
            source = sqlite3.connect(":memory:")
            source.deserialize(image)
            source.backup(connection)
            source.close()
        connection.before_commit, connection.after_commit = self._before, self._after
        self._open[name] = connection
        return connection

    def connection(self, name: str) -> Connection:
        """The one that is open."""
        return self._open[name]

    def cut_at_commit(self, commits: int, *, after: bool) -> None:
        """Cut the power at one of the next commits: before it is done, or right after it."""
        self._cut_in, self._cut_after = commits, after

    def images(self) -> dict[str, bytes]:
        """What is on the disk now."""
        for connection in self._open.values():
            if connection.in_transaction:
                connection.rollback()
        return {name: connection.serialize() for name, connection in self._open.items()}

    def keep(self, now_ms: int) -> None:
        """Remember an image for a disk that lies, or as a backup."""
        self._kept = [*self._kept[1 - IMAGES_KEPT :], (now_ms, self.images())]

    def crash(self, back_to: int | None = None) -> int | None:
        """Power off. ``back_to``: the number of a kept image to fall back to; the time at which that was kept."""
        self._images = self.images()
        time_ms = None
        if back_to is not None and self._kept:
            time_ms, self._images = self._kept[back_to % len(self._kept)]
            self._kept = [kept for kept in self._kept if kept[0] <= time_ms]
        for connection in self._open.values():
            connection.close()
        self._open.clear()
        self._cut_in = None
        return time_ms

    def forget_kept(self) -> None:
        """No image from before comes back."""
        self._kept.clear()

    def image(self, name: str) -> bytes:
        """What is on it while the power is off."""
        return self._images[name]

    def replace(self, name: str, image: bytes) -> None:
        """Something else writes the file while nobody has it open."""
        self._images[name] = image

    def _before(self) -> None:
        if self.is_full:
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode, full.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
            raise full
        if self._cut_in is not None and self._cut_in <= 0 and not self._cut_after:
            self._cut_in = None
            raise PowerCut

    def _after(self) -> None:
        if self._cut_in is None:
            return
        if self._cut_in <= 0 and self._cut_after:
            self._cut_in = None
            raise PowerCut
        self._cut_in -= 1
