"""The broker and the line: it loses, doubles, delays, reorders; a lying one also repeats, holds back, misdelivers.

Law: it has no key of anybody, so all it can do to a message is what any stranger on the line could.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.world.clockwork import Clockwork

CALM_MS = 50
"""How long a message takes at most on a line that works."""
RECORDED_MAX = 200
Arrive = Callable[[bytes], None]


class Broker:
    """``loss`` and ``doubling`` are probabilities."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self.loss = self.doubling = 0.0
        self.delay_ms = CALM_MS
        self.holds_back = False
        """It keeps what comes, for hours."""
        self._is_healed = False
        self._kept: list[tuple[str, bytes, Arrive]] = []
        self._recorded: list[tuple[str, bytes, Arrive]] = []

    def heal(self) -> None:
        """From now on it does what it should; what it has kept comes late."""
        self._is_healed = True
        self.loss, self.doubling, self.delay_ms = 0.0, 0.0, CALM_MS
        self.let_go()

    def take(self, way: str, payload: bytes, arrive: Arrive) -> None:
        """Somebody publishes a message."""
        self._recorded = [*self._recorded[1 - RECORDED_MAX :], (way, payload, arrive)]
        if self.holds_back:
            self._kept.append((way, payload, arrive))
            return
        copies = 1 + self._clockwork.chance(self.doubling)
        if copies > 1:
            self._clockwork.note(f"{way}_doubled")
        for _ in range(copies):
            if self._clockwork.chance(self.loss):
                self._clockwork.note(f"{way}_lost")
            else:
                self._carry(way, payload, arrive)

    def _carry(self, way: str, payload: bytes, arrive: Arrive) -> None:
        delay_ms = self._clockwork.random.randrange(1, self.delay_ms)
        self._clockwork.at(delay_ms, way, lambda: arrive(payload))

    def let_go(self) -> None:
        """What was held back comes, in any order."""
        self.holds_back = False
        kept, self._kept = self._kept, []
        self._clockwork.random.shuffle(kept)
        for way, payload, arrive in kept:
            self._clockwork.note("broker_held_back")
            self._carry(way, payload, arrive)

    def replay(self, count: int) -> None:
        """Some of what ever passed comes again."""
        for _ in range(count if self._recorded else 0):
            way, payload, arrive = self._clockwork.random.choice(self._recorded)
            self._clockwork.note(f"broker_replayed_{way}")
            self._carry(way, payload, arrive)

    def some(self, way: str) -> bytes | None:
        """One of what ever passed."""
        found = [payload for one, payload, _ in self._recorded if one == way]
        return self._clockwork.random.choice(found) if found else None
