"""One moment on two clocks of this machine: what a drain is stamped with."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on two clocks, read back to back, so that kernel stamps can be carried from one clock to the other."""

    boot_ns: int
    """CLOCK_BOOTTIME: never steps, runs on through suspend."""
    real_ns: int
    """CLOCK_REALTIME, the clock of the kernel's receive stamps; it may step."""

    @classmethod
    def now(cls) -> Instant:
        """The present; for shells and tests of real sockets."""
        return cls(boot_ns=boottime_ns(), real_ns=time.time_ns())


def boottime_ns() -> int:
    """CLOCK_BOOTTIME; where the system has none (not Linux) the monotonic clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock)
