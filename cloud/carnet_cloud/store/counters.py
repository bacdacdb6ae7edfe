"""Counters that survive a restart: what was received, refused, held, forwarded, destroyed."""

from __future__ import annotations

import sqlite3


class Counters:
    """Names are snake_case words, never data."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def add(self, name: str, amount: int = 1) -> None:
        if amount:
            self._db.execute(
                "insert into counter values (?, ?) on conflict (name) do update set value = value + excluded.value",
                (name, amount),
            )

    def all(self) -> dict[str, int]:
        return dict(self._db.execute("select name, value from counter order by name").fetchall())
