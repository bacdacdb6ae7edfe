"""The floor under a vehicle's grants: the highest generation that its units and its owner's tools have seen.

Law 3: a store behind that floor was restored or lost something, and forwards nothing of the vehicle until the owner has
confirmed each record.
"""

from __future__ import annotations

from carnet_cloud.store import Transaction


def hold_floor(t: Transaction, vehicle: bytes, epoch: int, seen: int) -> bool:
    """Silence the vehicle's records and go on above ``seen`` if the store is behind it; whether it was."""
    if seen <= t.consents.generation(vehicle, epoch):
        return False
    t.others.change_vehicle(vehicle)
    for record in t.consents.records(vehicle, epoch):
        t.consents.set_silent(record.id, True)
    t.consents.raise_generation(vehicle, epoch, above=seen)
    t.counters.add("behind_floor")
    return True
