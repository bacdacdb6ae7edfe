"""The right to send one event now: short, taken in the transaction that reads GIVEN, renewed only by reading it again.

Law 3: after a withdrawal returned, nothing more is written. A sender asks ``guard`` before each write; a lease that is
over or was cut raises, and the connection is reset.
Limit: a process frozen between guard and write can emit that one write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

LEASE_MS = 400
WRITE_BYTES_MAX = 16_384


class LeaseOver(Exception):
    """The grant has ended or the lease ran out: stop writing and reset the connection."""


class Lease:
    """One send of one event.

    ``monotonic_ms`` is the sender's clock, ``started_ms`` was read before the transaction that took the lease, and
    ``renew`` reads GIVEN again in a transaction of its own (True: it still is).
    """

    def __init__(
        self,
        event_id: bytes,
        record: str,
        started_ms: float,
        monotonic_ms: Callable[[], float],
        renew: Callable[[], bool],
    ) -> None:
        self.event_id = event_id
        self.record = record
        self.started_ms = started_ms
        self._until_ms = started_ms + LEASE_MS
        self._monotonic_ms = monotonic_ms
        self._renew = renew
        self._cut = threading.Event()
        self._on_cut: Callable[[], None] | None = None

    def guard(self) -> None:
        """Call before each write of at most WRITE_BYTES_MAX bytes. Raises LeaseOver."""
        if self._cut.is_set():
            raise LeaseOver
        now_ms = self._monotonic_ms()
        if now_ms < self._until_ms - LEASE_MS / 2:
            return
        if not self._renew() or self._cut.is_set():
            raise LeaseOver
        self._until_ms = now_ms + LEASE_MS

    @property
    def over(self) -> bool:
        return self._cut.is_set()

    def on_cut(self, reset: Callable[[], None]) -> None:
        """``reset`` breaks the connection at once; called from the withdrawing thread.
        A late registration is called now.
        """
        self._on_cut = reset
        if self._cut.is_set():
            reset()

    def cut(self) -> None:
        """End the lease now (the record was withdrawn) and break its connection."""
        self._cut.set()
        if self._on_cut is not None:
            self._on_cut()
