"""Counters that survive a restart: what was received, refused, held, forwarded, destroyed."""

from __future__ import annotations

import sqlite3
from collections import Counter

from carnet.limits import NUMBER_MAX


class Counters:
    """Names are snake_case words, never data; a unit's claims may be added, so a counter stops at 2^53 - 1.
    What is added is written once, when the transaction commits.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._added: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        self._added[name] += amount

    def all(self) -> dict[str, int]:
        """Every counter that is not zero, by name, with what this transaction has added."""
        stored = Counter(dict(self._db.execute("select name, value from counter order by name").fetchall()))
        stored.update(self._added)
        return {name: value for name, value in sorted(stored.items()) if value}

    def flush(self) -> None:
        """Write what was added; called by the transaction before it commits."""
        self._db.executemany(
            "insert into counter values (?1, ?2) on conflict (name) do update set value = min(value + ?2, ?3)",
            sorted((name, min(value, NUMBER_MAX), NUMBER_MAX) for name, value in self._added.items() if value),
        )
        self._added.clear()

    def forget(self) -> None:
        """Drop what was added; called by a transaction that is rolled back."""
        self._added.clear()
