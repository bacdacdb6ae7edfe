"""The history of a stored record: what it comes to, what it would come to after one more entry, and the operator's next
entry.
"""

from __future__ import annotations

from collections.abc import Mapping

from carnet.errors import ConsentError, RemoteError
from carnet.grants import Grant, compile_grant
from carnet.recordevents import RecordEvent, write_event
from carnet.states import ALIVE, TRANSITIONS, EventKind, State
from carnet_cloud.grantbook import owner_keys
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord

ON_OWNERS_WORD: Mapping[EventKind, EventKind] = {
    EventKind.WITHDRAW: EventKind.REVOKE,
    EventKind.PAUSE: EventKind.SUSPEND,
}
"""What the operator does when the owner's narrowing does not fit the history."""


def known_record(t: Transaction, record: str) -> StoredRecord:
    """The record as stored; ConsentError ``record_unknown``."""
    stored = t.consents.record(record)
    if stored is None:
        raise ConsentError("record_unknown", "there is no such record here")
    return stored


def grant_after(t: Transaction, stored: StoredRecord, *more: str) -> Grant:
    """The grant as stored, or after one ``more`` entry; ConsentError if that does not belong there."""
    offer = t.consents.offer(stored.offer) or b""
    events = [*t.consents.events(stored.id), *more]
    return compile_grant(offer, stored.jws, events, owner_keys(t, stored.vehicle, stored.epoch))


def operator_entry(t: Transaction, stored: StoredRecord, kind: EventKind, reason: str, now_ms: int) -> str:
    """The operator's event that hangs on the record's last entry. RemoteError if the documents no longer compile."""
    grant = grant_after(t, stored)
    return write_event(RecordEvent(stored.id, grant.event_seq + 1, kind, now_ms, grant.head_hash, reason=reason))


def of_earlier_epochs(t: Transaction, vehicle: bytes) -> list[str]:
    """Ids of the vehicle's records that still stand although it has changed hands since.

    Those whose documents no longer compile are left as they are: no event can be hung on them, and nothing goes out
    under them.
    """
    newest = max((device.epoch for device in t.devices.of_vehicle(vehicle)), default=0)
    old = [one for one in t.consents.records(vehicle) if one.epoch < newest and State(one.state) in ALIVE]
    return [one.id for one in old if _compiles(t, one)]


def _compiles(t: Transaction, stored: StoredRecord) -> bool:
    try:
        grant_after(t, stored)
    except RemoteError:
        return False
    return True


def is_known(t: Transaction, stored: StoredRecord, event: RecordEvent, entry: str) -> bool:
    """Whether it happened already: the very entry, or a narrowing of what is as narrow by another event."""
    if entry in t.consents.events(stored.id):
        return True
    return event.kind in ON_OWNERS_WORD and (State(stored.state), event.kind) not in TRANSITIONS
