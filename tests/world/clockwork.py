"""Virtual time: a heap of events, one source of randomness, a count of what happened and a digest of all of it.

Law: nothing in the world asks the machine for the time or for randomness, so a seed is a run.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from random import Random

EVENTS_MAX = 60_000


class PowerCut(BaseException):
    """The machine under a program stops at this very point; no ``except Exception`` of the program sees it."""


class Broken(AssertionError):
    """A law does not hold."""


def law(holds: object, sentence: str) -> None:
    """Raise Broken with the sentence unless it holds."""
    if not holds:
        raise Broken(sentence)


class Clockwork:
    """``now_ms``: true time in ms since 1970, which is also the cloud's clock."""

    def __init__(self, seed: int, start_ms: int) -> None:
        self.random = Random(seed)
        self.now_ms = start_ms
        self.happened: Counter[str] = Counter()
        self._queue: list[tuple[int, int, str, Callable[[], None]]] = []
        self._order = itertools.count()
        self._events = 0
        self._digest = hashlib.sha256()

    def at(self, delay_ms: int, name: str, do: Callable[[], None]) -> None:
        """Do it so many ms from now."""
        heapq.heappush(self._queue, (self.now_ms + delay_ms, next(self._order), name, do))

    def every(self, interval_ms: int, name: str, do: Callable[[], None]) -> None:
        """Do it now and again and again."""

        def turn() -> None:
            self.at(interval_ms, name, turn)
            do()

        self.at(interval_ms, name, turn)

    def run(self, until_ms: int) -> None:
        """Let everything happen that is due by then. May be called from within an event that takes time."""
        while self._queue and self._queue[0][0] <= until_ms:
            self._events += 1
            law(self._events <= EVENTS_MAX, f"no progress: more than {EVENTS_MAX} events")
            time_ms, _, name, do = heapq.heappop(self._queue)
            self.now_ms = max(self.now_ms, time_ms)
            self.trace(name)
            do()
        self.now_ms = max(self.now_ms, until_ms)

    def leap(self, length_ms: int) -> None:
        """Hours in which nothing happens: what is due comes so much later. Not from within an event that takes time."""
        self.now_ms += length_ms
        self._queue = [(time_ms + length_ms, *rest) for time_ms, *rest in self._queue]  # type: ignore[misc]

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return self.random.random() < probability

    def note(self, kind: str, count: int = 1) -> None:
        """Something of this kind has happened."""
        self.happened[kind] += count
        self.trace(kind)

    def trace(self, *parts: object) -> None:
        """Put it into the digest."""
        self._digest.update(repr((self.now_ms, *parts)).encode())

    @property
    def digest(self) -> str:
        """Of everything that happened so far."""
        return self._digest.hexdigest()
