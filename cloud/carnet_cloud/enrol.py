"""Take a unit's enrolment: from then on its signature counts, and its owner's. End one: from then on it does not.

Law: an ended pairing never comes back. Whoever has the unit again pairs it anew, which gives it another id and keys.
Within an epoch a further key of the owner is pinned only if the operator says so, who knows him.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from carnet import jws
from carnet.enrolment import Enrolment, parse_enrolment
from carnet.errors import FormatError, RemoteError
from carnet.ids import TENANT, device_bytes, device_text, parse_id
from carnet_cloud.grantbook import owner_keys
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.devices import Device


@dataclass(frozen=True, slots=True)
class EndedUnit:
    """A unit whose pairing has ended, and how many others of its vehicle are still heard; ids as text."""

    device: str
    vehicle: str
    others: int


def enrol(store: Store, data: bytes, tenant: str, now_ms: int, recover: bool = False) -> str:
    """`admit` for a store that nothing is sent from: the next start ends the records of earlier epochs before its first
    send. The device's id as text; RemoteError of `parse_enrolment` and `admit`.
    """
    enrolment = parse_enrolment(data)
    with store.transaction() as t:
        t.others.change_vehicle(enrolment.vehicle)
        admit(t, enrolment, tenant, now_ms, recover)
    return device_text(enrolment.device)


def admit(t: Transaction, enrolment: Enrolment, tenant: str, now_ms: int, recover: bool = False) -> None:
    """Take a unit, and end those of earlier epochs; the same file again changes nothing.

    ``recover``: the owner has lost a key, and this unit, which is known here, has pinned another one beside it.

    Whoever has a service running ends the records of earlier epochs in the same transaction (`Consents.end_tenures`).
    RemoteError ``vehicle_tenant`` (unit or vehicle is another tenant's), ``enrolment_ended`` (this pairing was ended),
    ``enrolment_differs``, ``epoch_old``, ``epoch_owner`` (the vehicle has another owner in this epoch: only a later
    epoch changes hands), ``key_pinned`` (the key was removed once).
    """
    parse_id(tenant, TENANT)
    device = Device(
        enrolment.device,
        enrolment.vehicle,
        tenant,
        enrolment.epoch,
        enrolment.sign_key,
        enrolment.receive_key,
        "active",
    )
    known = t.devices.get(enrolment.device)
    _require_same(known, device)
    units = t.devices.of_vehicle(enrolment.vehicle)
    _require_place(units, device)
    _pin(t, enrolment, recover and known is not None)
    if known is None:
        t.devices.add(device, now_ms)
        # a sale: whoever still holds a unit of the owner before sends nothing more
        for other in units:
            if other.epoch < enrolment.epoch:
                _end(t, other.device, now_ms)


def end_unit(store: Store, device: str, now_ms: int) -> EndedUnit:
    """End one pairing, and no consent of its vehicle; repeating it changes nothing. RemoteError ``device_unknown``."""
    name = device_bytes(device)
    with store.transaction() as t:
        known = t.devices.get(name)
        if known is None:
            raise RemoteError(
                "device_unknown",
                "no unit with this id is enrolled here: name the unit, not its vehicle",
            )
        t.others.change_vehicle(known.vehicle)
        _end(t, name, now_ms)
        others = sum(unit.state == "active" for unit in t.devices.of_vehicle(known.vehicle))
    return EndedUnit(device, device_text(known.vehicle), others)


def _require_same(known: Device | None, device: Device) -> None:
    """RemoteError unless the unit is new, or known exactly so and not ended."""
    if known is None:
        return
    if known.tenant != device.tenant:
        raise _other_tenant(known.tenant)
    if replace(known, state=device.state) != device:
        raise RemoteError(
            "enrolment_differs", "this unit is enrolled with other keys or in another vehicle: pair it anew"
        )
    if known.state == "ended":
        raise RemoteError("enrolment_ended", "this pairing was ended and stays so: pair the unit anew")


def _end(t: Transaction, device: bytes, now_ms: int) -> None:
    """What it sent and nobody can date goes too: the check-in that could would not be taken any more."""
    t.devices.end(device, now_ms)
    t.counters.add("held_destroyed", t.streams.release_all(device))


def _require_place(units: list[Device], device: Device) -> None:
    """RemoteError if the vehicle is another tenant's, or has changed hands since."""
    for other in units:
        if other.tenant != device.tenant:
            raise _other_tenant(other.tenant)
        if other.epoch > device.epoch:
            raise FormatError("epoch_old", "this vehicle has changed hands since the unit was paired: pair it anew")


def _pin(t: Transaction, enrolment: Enrolment, recover: bool) -> None:
    owners = {jws.thumbprint(key): key for key in enrolment.owner_keys}
    pinned = t.devices.owner_keys(enrolment.vehicle, enrolment.epoch)
    is_same_owner = not pinned or owners.keys() <= pinned.keys()
    if not is_same_owner and not (recover and owners.keys() & pinned.keys()):
        raise RemoteError(
            "epoch_owner",
            "this vehicle has other owner's keys in this epoch: only a new epoch changes hands. If you have made sure "
            "that its owner has lost a key and pinned another one on this unit, which is enrolled here: --recover",
        )
    for thumbprint, key in sorted(owners.items()):
        t.devices.pin_owner_key(enrolment.vehicle, enrolment.epoch, thumbprint, key)
    # refuses a key that was removed: cars would refuse every grant set that says so
    owner_keys(t, enrolment.vehicle, enrolment.epoch)


def _other_tenant(tenant: str) -> RemoteError:
    return RemoteError(
        "vehicle_tenant",
        f"this vehicle is enrolled with {tenant} and stays there: name that one with --tenant. Pairing the unit anew "
        "would wipe its buffer and change nothing here",
    )
