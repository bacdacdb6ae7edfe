"""Holds frames back until it is their time.

Law: time is read and spent through the functions that were handed in; a late frame is sent at once, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BURST_NS: Final = 5_000_000
"""Frames that are due within this time are sent together; waking up for each would cost more than sending it."""


class Pace:
    """Turns time stamps of frames into waiting."""

    def __init__(self, speed: float | None, clock_ns: Callable[[], int], sleep_s: Callable[[float], None]) -> None:
        """``speed``: how many times faster than the frames' own clock; None: as fast as possible."""
        self._speed = speed
        self._clock_ns = clock_ns
        self._sleep_s = sleep_s
        self._first_ns: int | None = None
        self._began_ns = 0

    def wait(self, time_ns: int) -> None:
        """Return when a frame with this time stamp is due; the first one is due at once."""
        if self._speed is None:
            return
        if self._first_ns is None:
            self._first_ns, self._began_ns = time_ns, self._clock_ns()
        early_ns = self._began_ns + (time_ns - self._first_ns) / self._speed - self._clock_ns()
        if early_ns > BURST_NS:
            self._sleep_s(early_ns / 1e9)
