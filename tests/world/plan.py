"""What is planned to happen in a world, numbered, so that a part of it can be left out.

Law: a plan is drawn whole before anything of it is left out, so a number means the same mischief in every life of a
seed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from tests.world.clockwork import Clockwork

DRIVE_MS = 180_000
"""How long faults happen; then everything heals."""


@dataclass(frozen=True)
class Entry:
    """One mischief; ``at_ms`` after the start."""

    number: int
    at_ms: int
    name: str

    def __str__(self) -> str:
        return f"{self.number:3d}  {self.at_ms / 1000:7.3f} s  {self.name}"


class Plan:
    """``without``: numbers that are left out; nothing that comes after ``drive_ms`` happens either."""

    def __init__(self, clockwork: Clockwork, without: Collection[int] = (), drive_ms: int = DRIVE_MS) -> None:
        self._clockwork, self._without = clockwork, frozenset(without)
        self.drive_ms = drive_ms
        self._drawn: list[Entry] = []

    @property
    def is_whole(self) -> bool:
        """Nothing is left out: then a world has to have its frames, its withdrawal and its crash."""
        return not self._without and self.drive_ms == DRIVE_MS

    @property
    def entries(self) -> list[Entry]:
        """What happens."""
        return [entry for entry in self._drawn if self._happens(entry)]

    def add(self, at_ms: int, name: str, do: Callable[[], None]) -> None:
        """Do it so long after the start, which is now."""
        entry = Entry(len(self._drawn), at_ms, name)
        self._drawn.append(entry)
        if self._happens(entry):
            self._clockwork.at(at_ms, name, do)

    def _happens(self, entry: Entry) -> bool:
        return entry.number not in self._without and entry.at_ms <= self.drive_ms
