"""Consent as the cloud keeps it: take a record, an event; and end a grant so that it is silent.

Law 3: withdrawing is two transactions. The first makes it WITHDRAWING: the journal is on disk, key and payloads are
deleted. Then what is in flight drains or is cut. The second makes it WITHDRAWN. Nothing is sent after the first one but
what a lease in flight had already begun, and nothing at all after ``end`` has returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from carnet.errors import ConsentError, RemoteError
from carnet.grants import Grant, compile_grant
from carnet.ids import device_bytes
from carnet.recordevents import OWNER_ASKED, parse_event
from carnet.records import parse_record
from carnet.states import ALIVE, TRANSITIONS, WIDENING, EventKind, State
from carnet_cloud.entries import Entries
from carnet_cloud.floor import hold_to_seen
from carnet_cloud.grantbook import owner_keys, tenure_of
from carnet_cloud.grantsets import require_deliverable
from carnet_cloud.histories import (
    ON_OWNERS_WORD,
    grant_after,
    is_known,
    known_record,
    of_earlier_epochs,
    operator_entry,
)
from carnet_cloud.journal import Journal, Narrowing
from carnet_cloud.lease import Leases
from carnet_cloud.offers import require_open
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.consents import StoredRecord

DRAIN_MS = 500
CLOCK_MS_MAX = 300_000
"""How far from the server's clock an event that widens may be dated."""
ENDINGS: Mapping[State, EventKind] = {State.WITHDRAWING: EventKind.SILENT, State.REVOKING: EventKind.SILENT}


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of an ending: ``unknown`` sends were cut and the recipient may or may not have them."""

    record: str
    state: str
    destroyed: int
    unknown: int
    last_event_id: str
    silent_after_ms: int


@dataclass(frozen=True, slots=True)
class _Written:
    """An event that a commit made; ``journal_lines`` are applied with it."""

    stored: StoredRecord
    grant: Grant
    narrows: bool
    time_ms: int
    journal_lines: int


@dataclass(frozen=True, slots=True)
class Waits:
    """How the drain waits: the clocks and a pause of a few milliseconds, handed in by the shell."""

    now_ms: Callable[[], int]
    monotonic_ms: Callable[[], float]
    pause: Callable[[], None]


class Consents:
    """The only place that changes a consent; ``changed`` is told the vehicle whose grant set has a new generation,
    ``written`` the tenant whose log has something to take.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        leases: Leases,
        waits: Waits,
        changed: Callable[[bytes], None],
        entries: Entries,
        written: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._store = store
        self._journal = journal
        self._leases = leases
        self._waits = waits
        self._changed = changed
        self._entries = entries
        self._written = written

    # giving

    def give(self, jws: str, vehicle: str) -> Grant:
        """Take an owner's record; the grant it comes to, once the log has it. Repeating it changes nothing."""
        now_ms = self._waits.now_ms()
        name = device_bytes(vehicle)
        with self._store.transaction() as t:
            t.others.change_vehicle(name)
            epoch, tenant = tenure_of(t, name)
            keys = owner_keys(t, name, epoch)
            record = parse_record(jws, keys.keys)
            offer = t.consents.offer(record.offer)
            if offer is None:
                raise ConsentError("offer_unknown", "the record names an offer that was never published here")
            grant = compile_grant(offer, jws, (), keys)
            if grant.tenant != tenant:
                raise ConsentError("record_tenant", "the offer is of another tenant than the vehicle")
            known = t.consents.record(record.id)
            if known is not None:
                if known.jws != jws:
                    raise ConsentError("record_changed", "a record with this id exists and is another one")
                return grant_after(t, known)
            require_open(t, record.offer)
            if self._journal.names(record.id):
                # the store was restored to before the yes, and what came after it was a no
                raise ConsentError("record_ended", "this record was narrowed before: give a new one")
            if grant.state_at(now_ms) is not State.GIVEN:
                raise ConsentError("record_expired", "the record has already ended")
            stored = StoredRecord(
                record.id, name, epoch, tenant, grant.recipient, record.offer, jws, grant.state.value, grant.expires_ms,
                False,
            )  # fmt: skip
            self._entries.begin(t, stored, grant, now_ms)
            require_deliverable(t, name, epoch)
        self._written(tenant)
        return grant

    # what happens to a record afterwards

    def event(self, entry: str, record: str) -> Ended | Grant:
        """Take one event of the owner; ending events return only when the record is silent. A narrowing after another
        history (the owner's tool was behind) is never refused: the operator does the same.
        """
        now_ms = self._waits.now_ms()
        with self._narrowing([record]) as t:
            stored = known_record(t, record)
            owner = owner_keys(t, stored.vehicle, stored.epoch)
            event = parse_event(entry, owner.known)
            if event.kind in WIDENING:
                parse_event(entry, owner.keys)
            if event.record != record:
                raise ConsentError("event_record", "an event is of another record")
            if event.kind in WIDENING and abs(event.time_ms - now_ms) > CLOCK_MS_MAX:
                raise ConsentError("event_clock", "the event is dated far from now: check the clock of this machine")
            done: _Written | Grant | None = None
            if not is_known(t, stored, event, entry):
                try:
                    grant = grant_after(t, stored, entry)
                except ConsentError:
                    if event.kind not in ON_OWNERS_WORD:
                        raise
                    entry = operator_entry(t, stored, ON_OWNERS_WORD[event.kind], OWNER_ASKED, self._waits.now_ms())
                    grant = grant_after(t, stored, entry)
                done = self._write(t, stored, entry, grant)
            elif State(stored.state) in ALIVE:
                done = grant_after(t, stored)
        if isinstance(done, Grant):
            return self._silent_unless_given(done)
        return self._finish(done) if done else self._drain(record)

    def operate(self, record: str, kind: EventKind, reason: str) -> Ended | Grant:
        """An event of the operator, which can only narrow: suspend, revoke, terminate, invalidate."""
        with self._narrowing([record]) as t:
            stored = known_record(t, record)
            entry = operator_entry(t, stored, kind, reason, self._waits.now_ms())
            done = self._write(t, stored, entry, grant_after(t, stored, entry))
        return self._finish(done)

    def end_tenures(self, vehicle: bytes, first: Callable[[Transaction], object] = lambda _: None) -> int:
        """End every record of an epoch before the vehicle's newest, in one transaction with ``first``; how many."""

        def sold(t: Transaction) -> list[str]:
            first(t)
            return of_earlier_epochs(t, vehicle)

        return len(self.end_several(vehicle, EventKind.INVALIDATE, "tenure_ended", sold))

    def end_several(
        self, vehicle: bytes, kind: EventKind, reason: str, choose: Callable[[Transaction], list[str]]
    ) -> list[str]:
        """End the records of a vehicle that ``choose`` names, in the transaction in which it changes what it likes;
        their ids. Whatever a crash cuts off only narrows.
        """
        ended: list[str] = []
        with self._narrowing(ended) as t:
            t.others.change_vehicle(vehicle)
            # what an earlier failure left has reasons of its own
            self._catch_up(t)
            ended += choose(t)
            now_ms = self._waits.now_ms()
            self._journal.append(*(Narrowing(one, kind.value, "operator", now_ms) for one in ended))
            self._catch_up(t, reason)
            lines = t.consents.journal_lines()
        self._journal.applied(lines)
        self._changed(vehicle)
        for record in ended:
            self._leases.cut(record)
        self._wait_silent(*ended)
        for record in ended:
            self._say_silent(record)
        return ended

    def confirm(self, record: str) -> None:
        """The owner's tool has seen this record as it stands: it may be sent again after a restored store."""
        with self._store.transaction() as t:
            t.others.change_records([record])
            known_record(t, record)
            t.consents.set_silent(record, False)

    def seen(self, token: str) -> None:
        """Go behind nothing that an owner's tool has seen (`carnet_cloud.floor.hold_to_seen`)."""
        with self._store.transaction() as t:
            vehicle = hold_to_seen(t, token)
        if vehicle is not None:
            self._changed(vehicle)

    # at start

    def replay_journal(self) -> int:
        """Apply every journalled narrowing that the store has not (it was restored, or a crash came in between);
        how many records.

        They end as the operator's events, for the owner's are lost: the car and the owner's tool are told of them.
        """
        with self._store.transaction() as t:
            self._narrow_alone(t)
            if not self._journal.covers(t.consents.journal_lines(), t.consents.journal_digest()):
                t.consents.set_journal_lines(0)
                records = [record.id for record in t.consents.all_records()]
                t.others.change_records(records)
                for record in records:
                    t.consents.set_silent(record, True)
                # a store without a yes, as `enrol` makes it before the first start, lacks no no
                t.counters.add("journal_missing", bool(records))
            mended = self._catch_up(t)
            lines = len(self._journal.narrowings)
        self._journal.applied(lines)
        self._journal.adopt()
        return mended

    def finish_endings(self) -> int:
        """Complete what a crash left between the two transactions of an ending, and what a store that failed left in
        the journal; how many records.
        """
        self._finish_pending()
        with self._store.transaction() as t:
            half = t.consents.records_in(ENDINGS)
        for stored in half:
            self._drain(stored.id)
        return len(half)

    # inside

    @contextmanager
    def _narrowing(self, records: list[str]) -> Iterator[Transaction]:
        """A transaction that may narrow these records; it may name more. If it fails behind the journal's line, they
        are silent all the same: `Journal.is_pending` says so to the gate, and what is in the air is cut here.
        """
        try:
            with self._store.transaction() as t:
                self._narrow_alone(t)
                t.others.change_records(records)
                yield t
        except BaseException:
            for record in filter(self._journal.is_pending, records):
                self._leases.cut(record)
            raise

    def _narrow_alone(self, t: Transaction) -> None:
        """No other program narrows until the transaction ends, and what they have written before is read."""
        t.others.narrow()
        self._journal.refresh()

    def _finish_pending(self) -> None:
        """Apply narrowings whose own transaction failed."""
        self._journal.refresh()
        if not (pending := self._journal.pending):
            return
        with self._store.transaction() as t:
            self._narrow_alone(t)
            self._catch_up(t)
            lines = len(self._journal.narrowings)
        self._journal.applied(lines)
        for narrowing in pending:
            self._leases.cut(narrowing.record)

    def _catch_up(self, t: Transaction, reason: str = "journal") -> int:
        """Narrow what the journal has and the store has not; how many records."""
        mended = 0
        missing = self._journal.narrowings[t.consents.journal_lines() :]
        t.others.change_records({narrowing.record for narrowing in missing})
        for narrowing in missing:
            stored = t.consents.record(narrowing.record)
            because = OWNER_ASKED if narrowing.by == "owner" else reason
            mended += stored is not None and self._narrow_again(t, stored, EventKind(narrowing.event), because)
        lines = len(self._journal.narrowings)
        t.consents.set_journal_lines(lines, self._journal.digest(lines))
        t.counters.add("journal_applied", mended)
        return mended

    def _write(self, t: Transaction, stored: StoredRecord, entry: str, grant: Grant) -> _Written:
        """Event, state, generation and, for a narrowing, journal and the destruction of key and payloads.

        That holds for a pause too: after a resume only later captures are covered, so what waits would never be sent.
        The journal comes first: a crash or a full disk behind it is finished by `replay_journal` or `finish_endings`.
        """
        now_ms = self._waits.now_ms()
        event = parse_event(entry, owner_keys(t, stored.vehicle, stored.epoch).known)
        narrows = event.kind not in WIDENING
        if narrows:
            by = "operator" if entry.startswith("{") and event.reason != OWNER_ASKED else "owner"
            self._journal.append(Narrowing(stored.id, event.kind.value, by, now_ms))
            t.outbox.destroy(stored.id, now_ms)
        self._entries.add(t, stored, grant, event.kind, entry, now_ms)
        if narrows:
            t.others.tell_narrowed(stored.id)
            # the line of this event, which is done, and those that an earlier failure left
            self._catch_up(t)
        else:
            require_deliverable(t, stored.vehicle, stored.epoch)
        return _Written(stored, grant, narrows, now_ms, t.consents.journal_lines())

    def _finish(self, written: _Written) -> Ended | Grant:
        """After the commit: cut what flies, tell the car, and wait until a narrowed record is silent."""
        stored, grant = written.stored, written.grant
        self._journal.applied(written.journal_lines)
        if written.narrows:
            self._leases.cut(stored.id)
            self._changed(stored.vehicle)
        self._written(stored.tenant)
        if grant.state in ALIVE:
            return self._silent_unless_given(grant) if written.narrows else grant
        return self._drain(stored.id, written.time_ms)

    def _narrow_again(self, t: Transaction, stored: StoredRecord, kind: EventKind, reason: str) -> bool:
        """Narrow as the journal says, on the operator's word; False if the record stands no wider than that."""
        again = ON_OWNERS_WORD.get(kind, kind)
        if (State(stored.state), again) not in TRANSITIONS:
            return False
        t.outbox.destroy(stored.id, self._waits.now_ms())
        t.others.tell_narrowed(stored.id)
        try:
            entry = operator_entry(t, stored, again, reason, self._waits.now_ms())
            self._entries.add(t, stored, grant_after(t, stored, entry), again, entry, self._waits.now_ms())
        except RemoteError:
            # documents that no longer compile forward nothing anyway
            t.consents.set_silent(stored.id, True)
        return True

    def _silent_unless_given(self, grant: Grant) -> Grant:
        """A pause that is asked for again may find in the air what was sent before it, and waits like the first."""
        if grant.state is not State.GIVEN:
            self._leases.cut(grant.record_id)
            self._wait_silent(grant.record_id)
        return grant

    def _drain(self, record: str, since_ms: int | None = None) -> Ended:
        """Wait for what is in flight, at most DRAIN_MS, then write that it is silent.

        What ended since ``since_ms`` is counted then: a sender that had not begun an event has said so meanwhile.
        """
        started = self._waits.monotonic_ms()
        self._leases.cut(record)
        self._wait_silent(record)
        ended = self._say_silent(record, since_ms)
        return replace(ended, silent_after_ms=int(self._waits.monotonic_ms() - started))

    def _say_silent(self, record: str, since_ms: int | None = None) -> Ended:
        """Write that nothing is under way any more."""
        with self._store.transaction() as t:
            t.others.change_records([record])
            stored = known_record(t, record)
            state = State(stored.state)
            if state in ENDINGS:
                entry = operator_entry(t, stored, ENDINGS[state], "drained", self._waits.now_ms())
                grant = grant_after(t, stored, entry)
                self._entries.add(t, stored, grant, ENDINGS[state], entry, self._waits.now_ms())
                state = grant.state
            last = t.outbox.last_event(record)
            destroyed, unknown = (0, 0) if since_ms is None else t.outbox.ended_since(record, since_ms)
        self._changed(stored.vehicle)
        self._written(stored.tenant)
        return Ended(record, state.value, destroyed, unknown, last.hex() if last else "", 0)

    def _wait_silent(self, *records: str) -> None:
        until = self._waits.monotonic_ms() + DRAIN_MS
        while self._waits.monotonic_ms() < until:
            with self._store.transaction() as t:
                now_ms = self._waits.now_ms()
                if not any(self._leases.flying(one) or t.outbox.in_flight(one, now_ms) for one in records):
                    return
            self._waits.pause()
