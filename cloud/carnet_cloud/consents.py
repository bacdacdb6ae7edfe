"""Consent as the cloud keeps it: take an offer, a record, an event; and end a grant so that it is silent.

Law 3: withdrawing is two transactions. The first makes it WITHDRAWING: the journal is on disk, key and payloads are
deleted. Then what is in flight drains or is cut. The second makes it WITHDRAWN. Nothing is sent after the first one but
what a lease in flight had already begun, and nothing at all after ``end`` has returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from carnet.errors import ConsentError, RemoteError
from carnet.grants import Grant, compile_grant
from carnet.ids import device_bytes, device_text
from carnet.offers import parse_offer
from carnet.recordevents import RecordEvent, parse_event, write_event
from carnet.records import parse_record
from carnet.states import ALIVE, WIDENING, EventKind, State
from carnet_cloud.forward import Leases
from carnet_cloud.grantbook import owner_keys
from carnet_cloud.journal import Journal, Narrowing
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.consents import StoredRecord

DRAIN_MS = 500
CLOCK_MS_MAX = 300_000
"""How far from the server's clock an event that widens may be dated."""
ON_OWNERS_WORD: Mapping[EventKind, EventKind] = {
    EventKind.WITHDRAW: EventKind.REVOKE,
    EventKind.PAUSE: EventKind.SUSPEND,
}
"""What the operator does when the owner's narrowing does not fit the history."""
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
class Waits:
    """How the drain waits: the clocks and a pause of a few milliseconds, handed in by the shell."""

    now_ms: Callable[[], int]
    monotonic_ms: Callable[[], float]
    pause: Callable[[], None]


class Consents:
    """The only place that changes a consent; ``changed`` is told the vehicle whose grant set has a new generation."""

    def __init__(
        self, store: Store, journal: Journal, leases: Leases, waits: Waits, changed: Callable[[bytes], None]
    ) -> None:
        self._store = store
        self._journal = journal
        self._leases = leases
        self._waits = waits
        self._changed = changed

    # giving

    def offer(self, document: bytes) -> str:
        """Publish an offer; its id. The same bytes again are the same offer; other bytes under its id are refused."""
        offer = parse_offer(document)
        with self._store.transaction() as t:
            known = t.consents.offer(offer.id)
            if known is not None and known != document:
                raise ConsentError("offer_changed", "an offer with this id exists and is another one: make a new id")
            if known is None:
                t.consents.add_offer(offer.id, offer.tenant, offer.recipient, document, self._waits.now_ms())
        return offer.id

    def give(self, jws: str, vehicle: str) -> Grant:
        """Take a record signed by an owner of ``vehicle``; the grant it comes to. Repeating it changes nothing."""
        now_ms = self._waits.now_ms()
        name = device_bytes(vehicle)
        with self._store.transaction() as t:
            epoch, tenant = _tenure(t, name)
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
                return grant
            if grant.state_at(now_ms) is not State.GIVEN:
                raise ConsentError("record_expired", "the record has already ended")
            stored = StoredRecord(
                record.id, name, epoch, tenant, grant.recipient, record.offer, jws, grant.state.value, grant.expires_ms,
                False,
            )  # fmt: skip
            t.consents.add_record(stored, now_ms)
            t.consents.raise_generation(name, epoch)
        self._changed(name)
        return grant

    # what happens to a record afterwards

    def event(self, entry: str, record: str) -> Ended | Grant:
        """Take one event of the owner; ending events return only when the record is silent.

        A narrowing that was made after another history (the owner's tool was behind) is never refused: the operator
        does the same on the owner's word.
        """
        now_ms = self._waits.now_ms()
        with self._store.transaction() as t:
            stored = _known(t, record)
            event = parse_event(entry, owner_keys(t, stored.vehicle, stored.epoch).keys)
            if event.record != record:
                raise ConsentError("event_record", "an event is of another record")
            if entry in t.consents.events(record) or (
                event.kind in ON_OWNERS_WORD and State(stored.state) not in ALIVE
            ):
                return self._grant(t, stored) if State(stored.state) in ALIVE else self._drain(record)
            if event.kind in WIDENING and abs(event.time_ms - now_ms) > CLOCK_MS_MAX:
                raise ConsentError("event_clock", "the event is dated far from now: check the clock of this machine")
            try:
                grant = self._follow(t, stored, entry)
            except ConsentError:
                if event.kind not in ON_OWNERS_WORD:
                    raise
                entry = self._operator_entry(t, stored, ON_OWNERS_WORD[event.kind], "owner_asked")
                event = parse_event(entry, ())
                grant = self._follow(t, stored, entry)
        return self._apply(stored, event, entry, grant)

    def operate(self, record: str, kind: EventKind, reason: str) -> Ended | Grant:
        """An event of the operator, which can only narrow: suspend, revoke, terminate, invalidate."""
        with self._store.transaction() as t:
            stored = _known(t, record)
            entry = self._operator_entry(t, stored, kind, reason)
            parsed = parse_event(entry, ())
            grant = self._follow(t, stored, entry)
        return self._apply(stored, parsed, entry, grant)

    def confirm(self, record: str) -> None:
        """The owner's tool has seen this record as it stands: it may be sent again after a restored store."""
        with self._store.transaction() as t:
            _known(t, record)
            t.consents.set_silent(record, False)

    # at start

    def replay_journal(self) -> int:
        """Apply every journalled narrowing that the store does not know (it was restored); how many records."""
        mended = 0
        with self._store.transaction() as t:
            if not self._journal.known:
                for record in t.consents.all_records():
                    t.consents.set_silent(record.id, True)
                t.counters.add("journal_missing")
            for narrowing in self._journal.narrowings:
                stored = t.consents.record(narrowing.record) if narrowing.record else None
                if stored is None or _is_applied(t, stored, narrowing):
                    continue
                t.consents.set_silent(stored.id, True)
                t.outbox.destroy(stored.id, self._waits.now_ms())
                mended += 1
            t.counters.add("journal_applied", mended)
        return mended

    def finish_endings(self) -> int:
        """Complete what a crash left between the two transactions of an ending."""
        with self._store.transaction() as t:
            half = [r for r in t.consents.all_records() if State(r.state) in ENDINGS]
        for stored in half:
            self._drain(stored.id)
        return len(half)

    # inside

    def _follow(self, t: Transaction, stored: StoredRecord, entry: str) -> Grant:
        """The grant after one more entry; ConsentError if it does not belong there."""
        offer = t.consents.offer(stored.offer) or b""
        events = [*t.consents.events(stored.id), entry]
        return compile_grant(offer, stored.jws, events, owner_keys(t, stored.vehicle, stored.epoch))

    def _grant(self, t: Transaction, stored: StoredRecord) -> Grant:
        offer = t.consents.offer(stored.offer) or b""
        keys = owner_keys(t, stored.vehicle, stored.epoch)
        return compile_grant(offer, stored.jws, t.consents.events(stored.id), keys)

    def _apply(self, stored: StoredRecord, event: RecordEvent, entry: str, grant: Grant) -> Ended | Grant:
        now_ms = self._waits.now_ms()
        if event.kind in WIDENING:
            self._write(stored, event, entry, grant, now_ms)
            self._changed(stored.vehicle)
            return grant
        self._journal.append(Narrowing(stored.id, event.kind.value, "owner" if entry[0] != "{" else "operator", now_ms))
        destroyed, unknown = self._write(stored, event, entry, grant, now_ms)
        self._leases.cut(stored.id)
        self._changed(stored.vehicle)
        if grant.state in ALIVE:
            self._wait_silent(stored.id)
            return grant
        return self._drain(stored.id, destroyed, unknown)

    def _write(
        self, stored: StoredRecord, event: RecordEvent, entry: str, grant: Grant, now_ms: int
    ) -> tuple[int, int]:
        """One transaction: event, state, generation and, for a narrowing, the destruction of key and payloads.

        That holds for a pause too: after a resume only later captures are covered, so what waits would never be sent.
        """
        with self._store.transaction() as t:
            if len(t.consents.events(stored.id)) != event.seq - 1:
                raise ConsentError(
                    "event_seq", "another event of this record came first: read the record and try again"
                )
            t.consents.add_event(stored.id, event.seq, entry, now_ms)
            t.consents.set_record(stored.id, grant.state.value, grant.expires_ms)
            t.consents.raise_generation(stored.vehicle, stored.epoch)
            t.counters.add(f"consent_{event.kind.value}")
            return (0, 0) if event.kind in WIDENING else t.outbox.destroy(stored.id, now_ms)

    def _drain(self, record: str, destroyed: int = 0, unknown: int = 0) -> Ended:
        """Wait for what is in flight, at most DRAIN_MS, then write that it is silent."""
        started = self._waits.monotonic_ms()
        self._leases.cut(record)
        self._wait_silent(record)
        with self._store.transaction() as t:
            stored = _known(t, record)
            state = State(stored.state)
            if state in ENDINGS:
                entry = self._operator_entry(t, stored, ENDINGS[state], "drained")
                grant = self._follow(t, stored, entry)
                t.consents.add_event(record, grant.event_seq, entry, self._waits.now_ms())
                t.consents.set_record(record, grant.state.value, grant.expires_ms)
                t.consents.raise_generation(stored.vehicle, stored.epoch)
                state = grant.state
            last = t.outbox.last_event(record)
        self._changed(stored.vehicle)
        took = int(self._waits.monotonic_ms() - started)
        return Ended(record, state.value, destroyed, unknown, last.hex() if last else "", took)

    def _wait_silent(self, record: str) -> None:
        until = self._waits.monotonic_ms() + DRAIN_MS
        while self._waits.monotonic_ms() < until:
            with self._store.transaction() as t:
                if not t.outbox.in_flight(record, self._waits.now_ms()):
                    return
            self._waits.pause()

    def _operator_entry(self, t: Transaction, stored: StoredRecord, kind: EventKind, reason: str) -> str:
        grant = self._grant(t, stored)
        event = RecordEvent(stored.id, grant.event_seq + 1, kind, self._waits.now_ms(), grant.head_hash, reason=reason)
        return write_event(event)


def _known(t: Transaction, record: str) -> StoredRecord:
    stored = t.consents.record(record)
    if stored is None:
        raise ConsentError("record_unknown", "there is no such record here")
    return stored


def _tenure(t: Transaction, vehicle: bytes) -> tuple[int, str]:
    """Current epoch and tenant of a vehicle: those of its active device."""
    devices = [device for device in t.devices.of_vehicle(vehicle) if device.state == "active"]
    if not devices:
        raise ConsentError("vehicle_unknown", f"no unit of vehicle {device_text(vehicle)} is enrolled here")
    newest = max(devices, key=lambda device: device.epoch)
    return newest.epoch, newest.tenant


def _is_applied(t: Transaction, stored: StoredRecord, narrowing: Narrowing) -> bool:
    """Whether the store already holds an event of this kind for the record."""
    for entry in t.consents.events(stored.id):
        try:
            keys = owner_keys(t, stored.vehicle, stored.epoch).keys
            if parse_event(entry, keys).kind.value == narrowing.event:
                return True
        except RemoteError:
            continue
    return False
