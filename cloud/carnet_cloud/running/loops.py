"""The service's loops: each goes on after an error, and says that it makes progress.

Law: an error ends no loop. It is counted, and said once per kind; a loop that stands still is named.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from carnet.errors import Error
from carnet.logs import told

IDLE_S = 0.2
STALLED_S = 20.0
CONNECT_S_MAX = 120.0
"""How long those may stand still who connect to others: looking up and trying their addresses cannot be cut."""
CONNECTING = ("forward", "mqtt")

log = logging.getLogger("carnet.cloud")


class Loops:
    """Loops by name until ``stop``; ``progress`` is when each of them last moved (monotonic seconds), ``counted``
    how often what failed.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.progress: dict[str, float] = {}
        self.counted: dict[str, int] = {}

    def alive(self, name: str) -> Callable[[], None]:
        """What a loop calls whenever it has made progress."""

        def alive() -> None:
            self.progress[name] = time.monotonic()

        alive()
        return alive

    def thread(self, name: str, step: Callable[[], None], stop: threading.Event | None = None) -> threading.Thread:
        """A loop, not started, until ``stop`` that goes on after an error, which it counts and says once per kind."""
        alive, over = self.alive(name), stop or self._stop

        def loop() -> None:
            while not over.is_set():
                try:
                    step()
                except Exception as error:  # noqa: BLE001 - a loop outlives what nobody thought of; its kind is said
                    over.wait(min(5.0, 0.1 * self.tell(name, error)))
                alive()

        return threading.Thread(target=loop, name=name, daemon=True)

    def rest(self, name: str, seconds: float) -> None:
        """A loop that waits makes progress."""
        for _ in range(int(seconds / IDLE_S)):
            if self._stop.wait(IDLE_S):
                return
            self.progress[name] = time.monotonic()

    def stalled(self, others: Mapping[str, float]) -> list[str]:
        """The loops, and ``others`` by when they moved, that have stood still for too long."""
        now = time.monotonic()
        return [
            name
            for name, last in {**self.progress, **others}.items()
            if now - last > (CONNECT_S_MAX if name.startswith(CONNECTING) else STALLED_S)
        ]

    def tell(self, name: str, error: Exception) -> int:
        """Count a failure of a loop or duty and say it once; how often it happened."""
        reason, sentence = type(error).__name__, "unexpected; it goes on"
        if isinstance(error, Error):
            reason, sentence = error.reason, str(error)
        count = self.count(name, reason)
        if count == 1:
            extra = told("failure", reason)
            log.warning("%s: %s: %s (said once, counted on)", name, reason, sentence, extra=extra)
        return count

    def count(self, name: str, reason: str) -> int:
        """One more of this; how often it happened."""
        key = f"{name}: {reason}"
        self.counted[key] = self.counted.get(key, 0) + 1
        return self.counted[key]
