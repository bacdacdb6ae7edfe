"""Which rows are on their way: at most so many, sent again after a while, all forgotten with the connection.

Law 5: SQLite is the session. What is in here only decides when a row is published again; nothing in here frees one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

WINDOW: Final = 16
"""Data envelopes without an acknowledgement."""
OTHERS_MAX: Final = 256
"""The other types bypass that window, up to so many."""
RETRY_FIRST_MS: Final = 10_000
RETRY_MOST_MS: Final = 300_000
NEVER_MS: Final = 2**53


@dataclass(slots=True)
class _Flight:
    due_ms: int
    wait_ms: int
    is_data: bool


class Sender:
    """Rows by the number that the buffer gave them; times in milliseconds of BOOTTIME."""

    def __init__(self) -> None:
        self._flights: dict[int, _Flight] = {}

    @property
    def flying(self) -> frozenset[int]:
        """Numbers of the rows that wait for an answer."""
        return frozenset(self._flights)

    @property
    def next_ms(self) -> int:
        """When the first of them is due again."""
        return min((flight.due_ms for flight in self._flights.values()), default=NEVER_MS)

    def room(self, *, data: bool) -> int:
        """How many more rows may go."""
        used = sum(flight.is_data == data for flight in self._flights.values())
        return max(0, (WINDOW if data else OTHERS_MAX) - used)

    def sent(self, number: int, boot_ms: int, *, data: bool) -> None:
        """A row was published, for the first time or again."""
        before = self._flights.get(number)
        wait_ms = RETRY_FIRST_MS if before is None else min(before.wait_ms * 2, RETRY_MOST_MS)
        self._flights[number] = _Flight(boot_ms + wait_ms, wait_ms, data)

    def due(self, boot_ms: int) -> list[int]:
        """Rows to publish again, in the order in which they were first sent."""
        return [number for number, flight in self._flights.items() if flight.due_ms <= boot_ms]

    def again(self, boot_ms: int) -> None:
        """The cloud answered a check-in: what it did not acknowledge may be lost."""
        for flight in self._flights.values():
            flight.due_ms, flight.wait_ms = boot_ms, RETRY_FIRST_MS // 2

    def settled(self, numbers: Iterable[int]) -> None:
        """These were acknowledged, refused or given up."""
        for number in numbers:
            self._flights.pop(number, None)

    def forget(self) -> None:
        """The connection is gone."""
        self._flights.clear()
