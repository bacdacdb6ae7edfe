"""The grant set of a vehicle as it is delivered:
every record that lives, with its offer and events, and what has ended.

Law: documents travel as the bytes that came; nobody signs or rewrites them here.
"""

from __future__ import annotations

from carnet.grantsets import Documents, GrantSet, encode_grant_set
from carnet.ids import device_text
from carnet.states import ALIVE, State
from carnet_cloud.store import Transaction

ENDED_STATES = frozenset(State) - ALIVE - {State.REQUESTED, State.REFUSED}


def grant_set_bytes(t: Transaction, vehicle: bytes, epoch: int) -> bytes:
    """The whole set of the current generation."""
    records = t.consents.records(vehicle, epoch)
    living = [record for record in records if State(record.state) in ALIVE]
    ended = [(record.id, record.expires_ms) for record in records if State(record.state) in ENDED_STATES]
    documents = tuple(
        Documents(t.consents.offer(record.offer) or b"", record.jws, tuple(t.consents.events(record.id)))
        for record in living
    )
    return encode_grant_set(
        GrantSet(
            vehicle=device_text(vehicle),
            epoch=epoch,
            generation=t.consents.generation(vehicle, epoch),
            records=documents,
            ended=tuple(sorted(ended)),
        )
    )
