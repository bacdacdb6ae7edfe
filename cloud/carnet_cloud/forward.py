"""Send what the outbox holds: judged again, under a lease, one recipient after another in threads of their own.

Law 3 and 5: nothing is sent that is not GIVEN in the transaction that leases it; an unconfirmed event comes again with
the same id.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from carnet.schema import Schema
from carnet_cloud.boxes import parse_schema
from carnet_cloud.event import render, unpack
from carnet_cloud.lease import LEASE_MS, Lease
from carnet_cloud.recipients.base import Event, Outcome, Recipient
from carnet_cloud.recipients.webhook import retry_delay_ms
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.outbox import Queued
from carnet_cloud.wrapping import Wrapping, open_sealed

GIVE_UP_MS = 3 * 24 * 3_600_000
POSTPONE_MS = 10_000
"""How long an event waits whose record may not be sent now (silent until confirmed, recipient unknown)."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """``now_ms``: the server's wall clock; ``monotonic_ms``: for leases; ``random``: [0, 1) for back-off."""

    now_ms: Callable[[], int]
    monotonic_ms: Callable[[], float]
    random: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Taken:
    """A leased event, opened, with the lease that lets it go."""

    queued: Queued
    plain: bytes
    lease: Lease


class Leases:
    """The sends in the air, so that a withdrawal can cut them at once."""

    def __init__(self) -> None:
        self._open: dict[bytes, Lease] = {}
        self._turn = threading.Lock()

    def add(self, lease: Lease) -> None:
        with self._turn:
            self._open[lease.event_id] = lease

    def remove(self, lease: Lease) -> None:
        with self._turn:
            self._open.pop(lease.event_id, None)

    def flying(self, record: str) -> bool:
        """Whether a send of this record may still write; no clock is asked."""
        with self._turn:
            return any(lease.record == record for lease in self._open.values())

    def cut(self, record: str) -> int:
        """End every lease of a record now; how many."""
        return self._cut(lambda lease: lease.record == record)

    def cut_begun_before(self, monotonic_ms: float) -> int:
        """End every send that began before then: a recipient that drips or hangs holds nobody up; how many."""
        return self._cut(lambda lease: lease.started_ms < monotonic_ms)

    def _cut(self, chosen: Callable[[Lease], bool]) -> int:
        with self._turn:
            mine = [lease for lease in self._open.values() if chosen(lease)]
        for lease in mine:
            lease.cut()
        return len(mine)


class Forwarder:
    """One sender for some recipients; ``step`` sends at most one event and says whether there was one.

    ``given(t, record, now_ms)`` is the gate's answer for a record inside a transaction: may it be sent now?
    """

    def __init__(
        self,
        store: Store,
        recipients: Mapping[str, Recipient],
        wrapping: Wrapping,
        leases: Leases,
        given: Callable[[Transaction, str, int], bool],
        clocks: Clocks,
        owner: bytes,
    ) -> None:
        self._store = store
        self._recipients = recipients
        self._wrapping = wrapping
        self._leases = leases
        self._given = given
        self._clocks = clocks
        self._owner = owner

    def step(self, recipient: str) -> bool:
        """Lease, send and settle the oldest due event of ``recipient``; False if none may go now."""
        started_ms = self._clocks.monotonic_ms()
        taken = self._take(recipient, started_ms)
        if taken is None:
            return False
        try:
            body = render(unpack(taken.plain), self._schema)
            event = Event(taken.queued.event_id, body)
            outcome = self._recipients[recipient].send(event, taken.lease, self._clocks.now_ms() // 1000)
        except Exception:
            # an event that cannot be sent waits like one that nobody took, and holds no other up
            self._leases.remove(taken.lease)
            self._settle(taken.queued, Outcome.RETRY, "send_failed")
            raise
        self._leases.remove(taken.lease)
        self._settle(taken.queued, outcome, f"send_{outcome.value}")
        return True

    def _take(self, recipient: str, started_ms: float) -> Taken | None:
        """Lease the next event whose record may be sent now; the others of its record wait without being opened.

        The lease is among the open ones before the transaction ends, so that whoever narrows after it finds it.
        """
        now_ms = self._clocks.now_ms()
        with self._store.transaction() as t:
            while due := t.outbox.due(recipient, now_ms, 1):
                (queued,) = due
                if not self._given(t, queued.record, now_ms):
                    stored = t.consents.record(queued.record)
                    if stored is None or stored.expires_ms <= now_ms:
                        # nothing brings it back, and an expiry has no event that would have destroyed what waits
                        t.outbox.destroy(queued.record, now_ms)
                        continue
                    t.outbox.postpone(queued.record, recipient, now_ms, now_ms + POSTPONE_MS)
                    continue
                plain = self._open(t, queued)
                if plain is None:
                    t.outbox.lose(queued.event_id, now_ms)
                    t.counters.add("outbox_key_gone")
                    continue
                t.outbox.lease(queued.event_id, self._owner, now_ms + LEASE_MS)
                renew = partial(self._renew, queued)
                lease = Lease(queued.event_id, queued.record, started_ms, self._clocks.monotonic_ms, renew)
                self._leases.add(lease)
                return Taken(queued, plain, lease)
        return None

    def _schema(self, digest: bytes) -> Schema:
        with self._store.transaction() as t:
            return parse_schema(t.streams.schema_by_hash(digest))

    def _open(self, t: Transaction, queued: Queued) -> bytes | None:
        wrapped = t.outbox.key(queued.record, queued.recipient)
        key = self._wrapping.unwrap(*wrapped) if wrapped else None
        return open_sealed(queued.payload, key, queued.event_id) if key else None

    def _renew(self, queued: Queued) -> bool:
        now_ms = self._clocks.now_ms()
        with self._store.transaction() as t:
            return self._given(t, queued.record, now_ms) and t.outbox.renew(
                queued.event_id, self._owner, now_ms + LEASE_MS
            )

    def _settle(self, queued: Queued, outcome: Outcome, counter: str) -> None:
        now_ms = self._clocks.now_ms()
        with self._store.transaction() as t:
            if outcome is Outcome.CONFIRMED:
                if not t.outbox.settle(queued.event_id, self._owner, "confirmed", now_ms):
                    t.outbox.confirm_unknown(queued.event_id, now_ms)
            elif outcome is Outcome.REFUSED or now_ms - queued.created_ms > GIVE_UP_MS:
                t.outbox.settle(queued.event_id, self._owner, "refused", now_ms)
            else:
                delay_ms = retry_delay_ms(queued.attempts, self._clocks.random)
                t.outbox.retry(queued.event_id, self._owner, now_ms + delay_ms)
            t.outbox.give_back(queued.event_id, self._owner)
            t.counters.add(counter)
