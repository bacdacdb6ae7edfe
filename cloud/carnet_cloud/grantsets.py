"""The grant set of a vehicle as it is delivered:
every record that lives, with its offer and events, and what has ended.

Law: documents travel as the bytes that came; nobody signs or rewrites them here. An entry that widens travels once the
log has it, and a generation has one content: whatever changes the set raises it.
"""

from __future__ import annotations

from carnet.compression import compress
from carnet.errors import ConsentError, RemoteError
from carnet.grantsets import Documents, GrantSet, encode_grant_set, parse_grant_set
from carnet.ids import device_text
from carnet.limits import MESSAGE_BYTES_MAX
from carnet.states import ALIVE, State
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord

GRANT_SET_BYTES_MAX = MESSAGE_BYTES_MAX // 2
"""Of a compressed set; the rest is padding, and room for the events that narrow it later."""
ENDED_STATES = frozenset(State) - ALIVE - {State.REQUESTED, State.REFUSED}


def grant_set_bytes(t: Transaction, vehicle: bytes, epoch: int, *, unlogged: bool = False) -> bytes:
    """The whole set of the current generation; ``unlogged``: as it will be when the log has all entries."""
    records = t.consents.records(vehicle, epoch)
    living = [record for record in records if State(record.state) in ALIVE]
    ended = [(record.id, record.expires_ms) for record in records if State(record.state) in ENDED_STATES]
    documents = tuple(
        Documents(t.consents.offer(record.offer) or b"", record.jws, _events(t, record, unlogged))
        for record in living
        if record.in_force or unlogged
    )
    return encode_grant_set(
        GrantSet(
            vehicle=device_text(vehicle),
            epoch=epoch,
            generation=t.consents.generation(vehicle, epoch),
            keys=t.devices.owner_tokens(vehicle, epoch),
            records=documents,
            ended=tuple(sorted(ended)),
        )
    )


def _events(t: Transaction, record: StoredRecord, unlogged: bool) -> tuple[str, ...]:
    events = t.consents.events(record.id)
    return tuple(events if unlogged else events[: record.in_force - 1])


def require_deliverable(t: Transaction, vehicle: bytes, epoch: int) -> None:
    """ConsentError ``grants_excess`` if the vehicle's grant set would no longer fit a message to the car."""
    data = grant_set_bytes(t, vehicle, epoch, unlogged=True)
    try:
        parse_grant_set(data)
        size_bytes = len(compress(data))
    except RemoteError as e:
        raise ConsentError("grants_excess", "this vehicle has as many records as a car can be told of") from e
    if size_bytes > GRANT_SET_BYTES_MAX:
        raise ConsentError("grants_excess", "this vehicle has as many records as a car can be told of")
