"""Counters that survive a restart: what was received, refused, held, forwarded, destroyed."""

from __future__ import annotations

from collections import Counter

from carnet.limits import NUMBER_MAX
from carnet_cloud.store.database import Database


class Counters:
    """Names are snake_case words, never data; a unit's claims may be added, so a counter stops at 2^53 - 1.
    What is added is written once, when the transaction commits.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
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
            "insert into counter values (?, ?) on conflict (name) do update set value = case"
            " when counter.value > ? - excluded.value then ? else counter.value + excluded.value end",
            sorted((n, min(value, NUMBER_MAX), NUMBER_MAX, NUMBER_MAX) for n, value in self._added.items() if value),
        )
        self._added.clear()

    def forget(self) -> None:
        """Drop what was added; called by a transaction that is rolled back."""
        self._added.clear()
