"""The floor under a vehicle's grants: the highest generation and the largest log that its units and its owner's tools
have seen.

Law 3: a store behind that floor was restored or lost something, and forwards nothing of the vehicle until the owner has
confirmed each record.
"""

from __future__ import annotations

from carnet.ids import device_bytes
from carnet.seen import Seen, check_seen, claimed_seen
from carnet_cloud.grantbook import owner_keys
from carnet_cloud.store import Transaction


def hold_to_seen(t: Transaction, token: str) -> bytes | None:
    """Go behind nothing that an owner's tool was shown; the vehicle if the store was.

    RemoteError with the reasons of `carnet.seen.check_seen`: then it was no owner's word.
    """
    claim = claimed_seen(token)
    vehicle = device_bytes(claim.vehicle)
    t.others.change_vehicle(vehicle)
    seen = check_seen(token, owner_keys(t, vehicle, claim.epoch))
    return vehicle if _hold_seen(t, vehicle, seen) else None


def hold_floor(t: Transaction, vehicle: bytes, epoch: int, seen: int) -> bool:
    """Silence the vehicle's records and go on above ``seen`` if the store is behind it; whether it was."""
    if seen <= t.consents.generation(vehicle, epoch):
        return False
    _silence(t, vehicle, epoch)
    t.consents.raise_generation(vehicle, epoch, above=seen)
    t.counters.add("behind_floor")
    return True


def hold_log_floor(t: Transaction, vehicle: bytes, epoch: int, seen: int) -> bool:
    """The same for a log that is smaller than ``seen``, once for each size: what the owner confirms then may be sent,
    although the log is smaller still.
    """
    if seen <= t.consents.log_floor(vehicle, epoch):
        return False
    _silence(t, vehicle, epoch)
    t.consents.set_log_floor(vehicle, epoch, seen)
    t.counters.add("behind_log_floor")
    return True


def _hold_seen(t: Transaction, vehicle: bytes, seen: Seen) -> bool:
    """Both floors, of what the owner's tool was shown; whether the store was behind one.

    A tenant's log that has another name than the one that was shown says nothing; one that is not there is behind.
    """
    is_behind = hold_floor(t, vehicle, seen.epoch, seen.generation)
    for tenant in sorted({record.tenant for record in t.consents.records(vehicle, seen.epoch)}):
        log = t.ledger.log(tenant)
        if seen.log_size and (log is None or (log.origin == seen.origin and log.size < seen.log_size)):
            is_behind |= hold_log_floor(t, vehicle, seen.epoch, seen.log_size)
    return is_behind


def _silence(t: Transaction, vehicle: bytes, epoch: int) -> None:
    t.others.change_vehicle(vehicle)
    for record in t.consents.records(vehicle, epoch):
        t.consents.set_silent(record.id, True)
