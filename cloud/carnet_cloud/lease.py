"""The right to send one event now: short, taken in the transaction that reads GIVEN, renewed only by reading it again.

Law 3: after a withdrawal returned, nothing more is written. A sender asks ``guard`` before each write; a lease that is
over or was cut raises, and the connection is reset. The leases of a group are taken in one transaction; each is of one
event alone, so that the end of one record leaves the others.
A renewal is worth nothing that came back after its own term: the clock is read again behind it.
Limit: a process frozen between guard and write can emit that one write.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable

LEASE_MS = 400
BEGIN_MS = LEASE_MS // 2
"""How long after its taking a lease may begin to be used without reading GIVEN again."""
WRITE_BYTES_MAX = 16_384


class LeaseOver(Exception):
    """The grant has ended or the lease ran out: stop writing and reset the connection."""


class Lease:
    """One send of one event.

    ``monotonic_ms`` is the sender's clock, ``started_ms`` was read before the transaction that took the lease, and
    ``renew`` reads GIVEN again in a transaction of its own (True: it still is). ``ends_ms`` is when the record expires,
    on the same clock: no renewal goes beyond it.
    """

    def __init__(
        self,
        event_id: bytes,
        record: str,
        started_ms: float,
        monotonic_ms: Callable[[], float],
        renew: Callable[[], bool],
        ends_ms: float = math.inf,
    ) -> None:
        self.event_id = event_id
        self.record = record
        self.started_ms = started_ms
        self._until_ms = started_ms + LEASE_MS
        self._ends_ms = ends_ms
        self._monotonic_ms = monotonic_ms
        self._renew = renew
        self._is_cut = False
        self._on_cut: Callable[[], None] | None = None

    def guard(self) -> None:
        """Call before each write of at most WRITE_BYTES_MAX bytes. Raises LeaseOver."""
        now_ms = self._monotonic_ms()
        if self._is_cut or now_ms >= self._ends_ms:
            raise LeaseOver
        if now_ms < self._until_ms - LEASE_MS + BEGIN_MS:
            return
        renewed = self._renew()
        self._until_ms = now_ms + LEASE_MS
        # a renewal waits for its turn at the store: whoever narrows after it may have seen the new lease run out too
        if not renewed or self.over or self._monotonic_ms() >= min(self._until_ms, self._ends_ms):
            raise LeaseOver

    @property
    def over(self) -> bool:
        return self._is_cut

    def on_cut(self, reset: Callable[[], None]) -> None:
        """``reset`` breaks the connection at once; called from the withdrawing thread.
        A late registration is called now.
        """
        self._on_cut = reset
        if self._is_cut:
            reset()

    def cut(self) -> None:
        """End the lease now (the record was withdrawn) and break its connection."""
        self._is_cut = True
        if self._on_cut is not None:
            self._on_cut()


class Leases:
    """The leases that are held, so that a withdrawal can cut them at once, and which of them are being written under.

    A sender says `begin` before it asks the guard: whoever cuts and then finds nothing flying knows that a lease which
    begins later is already cut.
    """

    def __init__(self) -> None:
        self._held: dict[bytes, Lease] = {}
        self._flying: dict[bytes, Lease] = {}
        self._turn = threading.Lock()

    def add(self, leases: Iterable[Lease]) -> None:
        with self._turn:
            self._held.update((lease.event_id, lease) for lease in leases)

    def begin(self, lease: Lease) -> None:
        """From now on it may be written under."""
        with self._turn:
            self._flying[lease.event_id] = lease

    def remove(self, leases: Iterable[Lease]) -> None:
        """Nothing is written under these any more."""
        with self._turn:
            for lease in leases:
                self._held.pop(lease.event_id, None)
                self._flying.pop(lease.event_id, None)

    def taken_ms(self) -> list[float]:
        """When each of those that are held was taken."""
        with self._turn:
            return [lease.started_ms for lease in self._held.values()]

    def flying(self, record: str) -> int:
        """How many sends of this record may still write; no clock is asked."""
        with self._turn:
            return sum(lease.record == record for lease in self._flying.values())

    def cut(self, record: str) -> int:
        """End every lease of a record now; how many."""
        return self._cut(lambda lease: lease.record == record)

    def cut_begun_before(self, monotonic_ms: float) -> int:
        """End every lease that was taken before then: a recipient that drips or hangs holds nobody up; how many."""
        return self._cut(lambda lease: lease.started_ms < monotonic_ms)

    def _cut(self, chosen: Callable[[Lease], bool]) -> int:
        with self._turn:
            mine = [lease for lease in self._held.values() if chosen(lease)]
        for lease in mine:
            lease.cut()
        return len(mine)
