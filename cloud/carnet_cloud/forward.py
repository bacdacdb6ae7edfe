"""Send what the outbox holds: judged again, under leases, in groups, each recipient in a thread of its own.

Law 3 and 5: nothing is sent that is not GIVEN in the transaction that leases it; an unconfirmed event comes again with
the same id. A group is leased in one transaction and settled in another; a crash between the two brings it again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from carnet.schema import Schema
from carnet_cloud.boxes import parse_schema
from carnet_cloud.lease import LEASE_MS, Lease, Leases
from carnet_cloud.recipients.base import GROUP_MAX, ForgetfulRecipient, Outcome, Recipient
from carnet_cloud.recipients.webhook import retry_delay_ms
from carnet_cloud.sending import Sender, Sent, Taken
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.outbox import Queued
from carnet_cloud.wrapping import Wrapping, open_sealed

GIVE_UP_MS = 3 * 24 * 3_600_000
"""How old an event is when a try that nobody answered with yes or no is its last."""
POSTPONE_MS = 10_000
"""How long an event waits whose record may not be sent now (silent until confirmed, recipient unknown)."""
GROUP_BYTES_MAX = 1 << 18
"""Sealed payloads of a group together; one that is larger goes alone."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """``now_ms``: the server's wall clock; ``monotonic_ms``: for leases; ``random``: [0, 1) for back-off."""

    now_ms: Callable[[], int]
    monotonic_ms: Callable[[], float]
    random: Callable[[], float]


class Forwarder:
    """One sender for some recipients; ``step`` sends at most one group and says whether there was one.

    ``given(t, record, now_ms)`` is the gate's answer for a record inside a transaction: may it be sent now?
    ``seen`` is told what became of a group, but for errors of ours.
    A recipient that takes its time gets groups as small as what it takes while a lease is young.
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
        group_max: int = GROUP_MAX,
        seen: Callable[[str, Collection[Outcome]], object] = lambda *_: None,
    ) -> None:
        self._store = store
        self._recipients = recipients
        self._wrapping = wrapping
        self._leases = leases
        self._given = given
        self._clocks = clocks
        self._owner = owner
        self._group_max = group_max
        self._seen = seen
        self._farewell_ms = 0
        """Before then no recipient is told to forget: one was away."""
        self._sizes = dict.fromkeys(recipients, group_max)
        self._showing = {name for name, each in recipients.items() if isinstance(each, ForgetfulRecipient)}
        """Who shows what it got: an older value must not come behind a newer one, from whichever receiver."""
        for name, each in recipients.items():
            if isinstance(each, ForgetfulRecipient):
                each.remember(partial(self._claim, name))

    def step(self, recipient: str) -> bool:
        """Lease, send and settle the oldest due events of ``recipient``, or say farewell; False if there is neither."""
        # first, or with always something due it would show for ever what has ended
        if self._farewell(recipient):
            return True
        started_ms = self._clocks.monotonic_ms()
        group = self._take(recipient, started_ms)
        if not group:
            return False
        clocks = self._clocks
        to = self._recipients[recipient]
        sent = Sender(to, self._leases, self._schema, clocks.now_ms, clocks.monotonic_ms).send(group)
        self._settle(sent)
        self._seen(recipient, [each.outcome for each in sent if each.failure is None])
        begun = sum(each.outcome is not Outcome.UNSENT for each in sent)
        self._sizes[recipient] = min(self._group_max, 2 * len(group)) if begun == len(group) else max(1, begun)
        for failure in (each.failure for each in sent if each.failure):
            raise failure
        return True

    def _farewell(self, recipient: str) -> bool:
        """Tell a recipient that shows what it got to forget a record that has ended; whether there was one.

        Nothing of such a record is leased any more, here or by another program.
        """
        to, now_ms = self._recipients[recipient], self._clocks.now_ms()
        if not isinstance(to, ForgetfulRecipient) or now_ms < self._farewell_ms:
            return False
        with self._store.transaction() as t:
            # an expiry is announced to nobody: what was leased before it has run out by then
            record = t.farewells.due(recipient, now_ms - LEASE_MS)
            paths = t.farewells.paths(record) if record else set()
        if record is None:
            return False
        clock = self._clocks.monotonic_ms
        if paths and not to.forget(record, paths, Lease(b"", record, clock(), clock, lambda: True)):
            self._farewell_ms = now_ms + POSTPONE_MS
            return False
        with self._store.transaction() as t:
            t.farewells.done(record, now_ms)
            t.shown.forget(recipient, record)
            t.counters.add("record_forgotten")
        return True

    def _claim(self, recipient: str, record: str, times_ms: Mapping[str, int]) -> Collection[str]:
        with self._store.transaction() as t:
            return t.shown.claim(recipient, record, times_ms)

    def _take(self, recipient: str, started_ms: float) -> list[Taken]:
        """Lease the next events whose record may be sent now; all others of a record that may not wait unopened.

        The leases are among those held before the transaction ends, so that whoever narrows after it finds them.
        """
        now_ms = self._clocks.now_ms()
        group: list[Taken] = []
        try:
            with self._store.transaction() as t:
                t.others.forward(recipient)
                size, turn = self._sizes[recipient], recipient in self._showing
                while not group and (
                    records := t.outbox.due_records(recipient, self._owner, now_ms, size, in_turn=turn)
                ):
                    # read behind that only: what was due before may have been narrowed meanwhile
                    t.others.keep_records(records)
                    group = self._lease_due(t, recipient, records, started_ms, now_ms)
        except BaseException:
            # a commit that failed has taken no lease, and nobody else would ever say that it is over
            self._leases.remove(taken.lease for taken in group)
            raise
        return group

    def _lease_due(
        self, t: Transaction, recipient: str, records: Collection[str], started_ms: float, now_ms: int
    ) -> list[Taken]:
        """What is due of these records, leased, as far as it may be sent."""
        size, turn = self._sizes[recipient], recipient in self._showing
        due = t.outbox.due(recipient, self._owner, now_ms, size, GROUP_BYTES_MAX, in_turn=turn)
        due = [queued for queued in due if queued.record in records]
        given = {record: self._given(t, record, now_ms) for record in {queued.record for queued in due}}
        for record in sorted(record for record in given if not given[record]):
            self._keep_back(t, record, recipient, now_ms)
        group = list(self._opened(t, [each for each in due if given[each.record]], started_ms, now_ms))
        t.outbox.lease([taken.queued.event_id for taken in group], self._owner, now_ms + LEASE_MS)
        self._leases.add(taken.lease for taken in group)
        return group

    def _keep_back(self, t: Transaction, record: str, recipient: str, now_ms: int) -> None:
        stored = t.consents.record(record)
        if stored is None or stored.expires_ms <= now_ms:
            # nothing brings it back, and an expiry has no event that would have destroyed what waits
            t.outbox.destroy(record, now_ms)
        else:
            t.outbox.postpone(record, recipient, self._owner, now_ms, now_ms + POSTPONE_MS)

    def _opened(self, t: Transaction, due: Sequence[Queued], started_ms: float, now_ms: int) -> Iterator[Taken]:
        """Every event that its key opens, with a lease that is still to be written down."""
        one_of = {queued.record: queued for queued in due}
        keys = {record: self._key(t, queued) for record, queued in one_of.items()}
        ends_ms = {record: started_ms + _until_ms(t, record) - now_ms for record in one_of}
        for queued in due:
            key = keys[queued.record]
            plain = open_sealed(queued.payload, key, queued.event_id) if key else None
            if plain is None:
                t.outbox.lose(queued.event_id, now_ms)
                t.counters.add("outbox_key_gone")
                continue
            yield Taken(queued, plain, self._lease(queued, started_ms, ends_ms[queued.record]))

    def _lease(self, queued: Queued, started_ms: float, ends_ms: float) -> Lease:
        renew = partial(self._renew, queued)
        return Lease(queued.event_id, queued.record, started_ms, self._clocks.monotonic_ms, renew, ends_ms)

    def _key(self, t: Transaction, queued: Queued) -> bytes | None:
        wrapped = t.outbox_keys.get(queued.record, queued.recipient)
        key = self._wrapping.unwrap(*wrapped) if wrapped else None
        if wrapped and key is None:
            # another program may have wrapped it anew between the two: read it while nobody can
            t.others.wrap()
            wrapped = t.outbox_keys.get(queued.record, queued.recipient)
            key = self._wrapping.unwrap(*wrapped) if wrapped else None
        return key

    def _schema(self, digest: bytes) -> Schema:
        with self._store.transaction() as t:
            return parse_schema(t.streams.schema_by_hash(digest))

    def _renew(self, queued: Queued) -> bool:
        now_ms = self._clocks.now_ms()
        with self._store.transaction() as t:
            t.others.keep_records([queued.record])
            return self._given(t, queued.record, now_ms) and t.outbox.renew(
                queued.event_id, self._owner, now_ms + LEASE_MS
            )

    def _settle(self, sent: Sequence[Sent]) -> None:
        """Write down what became of a group."""
        now_ms = self._clocks.now_ms()
        ids: dict[Outcome, list[bytes]] = {outcome: [] for outcome in Outcome}
        retries: list[tuple[bytes, int]] = []
        given_up: list[bytes] = []
        for queued, outcome in ((each.queued, each.outcome) for each in sent):
            if outcome in (Outcome.RETRY, Outcome.CUT) and now_ms - queued.created_ms <= GIVE_UP_MS:
                retries.append((queued.event_id, now_ms + retry_delay_ms(queued.attempts, self._clocks.random)))
            elif outcome in (Outcome.RETRY, Outcome.CUT):
                given_up.append(queued.event_id)
            else:
                ids[outcome].append(queued.event_id)
        with self._store.transaction() as t:
            t.others.keep_records({each.queued.record for each in sent})
            t.outbox.confirm(ids[Outcome.CONFIRMED], self._owner, now_ms)
            t.outbox.refuse(ids[Outcome.REFUSED], self._owner, now_ms)
            t.outbox.give_up(given_up, self._owner, now_ms)
            t.outbox.retry(retries, self._owner)
            t.outbox.put_back(ids[Outcome.UNSENT], self._owner, now_ms)
            t.outbox.give_back([each.queued.event_id for each in sent], self._owner)
            t.counters.add("send_given_up", len(given_up))
            for each in sent:
                t.counters.add("send_failed" if each.failure else f"send_{each.outcome.value}")


def _until_ms(t: Transaction, record: str) -> int:
    """When what is in force of a record ends."""
    stored = t.consents.record(record)
    return stored.until_ms if stored else 0
