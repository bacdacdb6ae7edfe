"""One moment on two clocks of this machine: what a drain is stamped with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

APART_NS: Final = 100_000
"""Both clocks are read in less than a microsecond, unless this thread is put aside between them."""
TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on two clocks, read back to back, so that kernel stamps can be carried from one clock to the other."""

    boot_ns: int
    """CLOCK_BOOTTIME: never steps, runs on through suspend."""
    real_ns: int
    """CLOCK_REALTIME, the clock of the kernel's receive stamps; it may step."""

    @classmethod
    def now(cls) -> Instant:
        """The present; for shells and tests of real sockets.

        What lies between the two readings moves every stamp of a drain, so the closest of at most TRIES counts.
        """
        apart_ns, now = cls._read()
        for _ in range(TRIES - 1):
            if apart_ns <= APART_NS:
                break
            apart_ns, now = min((apart_ns, now), cls._read(), key=lambda each: each[0])
        return now

    @classmethod
    def _read(cls) -> tuple[int, Instant]:
        """Within how many nanoseconds both clocks were read, and what they said."""
        before_ns = boottime_ns()
        real_ns = time.time_ns()
        apart_ns = boottime_ns() - before_ns
        return apart_ns, cls(before_ns + apart_ns // 2, real_ns)


def boottime_ns() -> int:
    """CLOCK_BOOTTIME; where the system has none (not Linux) the monotonic clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock)
