"""What every way of reading a bus has in common: the protocol, the counters, the back-off.

Law: a reader only listens, and until identifiers have been set it yields nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from carnet_agent.frames import Frames
from carnet_agent.instant import Instant

Identifier = tuple[int, bool]
"""A CAN identifier without flag bits, and whether it has 29 bits: 0x100 with 11 and with 29 bits are two messages."""

BACKOFF_FIRST_NS = 100_000_000
BACKOFF_MOST_NS = 5_000_000_000


@dataclass(slots=True)
class BusCounters:
    """What happened on one bus since the agent started; numbers only ever rise."""

    frames: int = 0
    """Data frames handed to the caller."""
    dropped: int = 0
    """Frames lost before we could read them: the kernel's queue, or ours behind python-can, was full."""
    discarded: int = 0
    """Frames queued under wider filters and thrown away unread after a narrowing."""
    error_frames: int = 0
    bus_off: int = 0
    """Error frames that report bus-off."""
    remote_frames: int = 0
    malformed: int = 0
    """Datagrams that are no CAN frame: wrong size or impossible length."""
    opened: int = 0
    open_failed: int = 0
    """Attempts to open that failed: absent, busy, no rights."""
    interrupted: int = 0
    """An open bus that failed: interface down, removed, adapter unplugged."""
    stalled: int = 0
    """Times that the thread behind python-can stood still: a driver's call that does not return."""


class BusReader(Protocol):
    """One bus, drained by its owner every 20 to 50 ms; no call blocks or raises because of the bus."""

    @property
    def counters(self) -> BusCounters: ...

    @property
    def fault(self) -> str | None:
        """Why nothing arrives at present, as a snake_case word; None while the bus works."""

    def read(self, now: Instant) -> Frames:
        """Every wanted data frame that arrived since the last call, in their order, stamped in CLOCK_BOOTTIME."""

    def set_identifiers(self, identifiers: Collection[Identifier] | None) -> None:
        """Withhold everything but these; None lifts the filter (for tools: an agent never passes it).

        When this returns from a narrowing, no frame that was queued under the old filter will be read.
        """

    def close(self) -> None:
        """Let go of the bus; a second call does nothing."""


class Backoff:
    """When to try again: at once, then after 0.1 s, doubling to 5 s. Holds no clock."""

    def __init__(self, first_ns: int = BACKOFF_FIRST_NS, most_ns: int = BACKOFF_MOST_NS) -> None:
        self._first_ns = first_ns
        self._most_ns = most_ns
        self._wait_ns = 0
        self._due_ns: int | None = None

    def due(self, now_ns: int) -> bool:
        """Whether the waiting time after the last failure is over."""
        return self._due_ns is None or now_ns >= self._due_ns

    def failed(self, now_ns: int) -> None:
        """Wait twice as long as after the failure before this one."""
        self._wait_ns = min(self._wait_ns * 2, self._most_ns) if self._wait_ns else self._first_ns
        self._due_ns = now_ns + self._wait_ns

    def succeeded(self) -> None:
        """Forget all failures."""
        self._wait_ns = 0
        self._due_ns = None
