"""Take a unit's enrolment: from then on its signature counts, and its owner's. End one: from then on it does not.

Law: an ended pairing never comes back. Whoever has the unit again pairs it anew, which gives it another id and keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from carnet import jws
from carnet.enrolment import parse_enrolment
from carnet.errors import FormatError, RemoteError
from carnet.ids import TENANT, device_bytes, device_text, parse_id
from carnet_cloud.store import Store
from carnet_cloud.store.devices import Device


@dataclass(frozen=True, slots=True)
class EndedUnit:
    """A unit whose pairing has ended, and how many others of its vehicle are still heard; ids as text."""

    device: str
    vehicle: str
    others: int


def enrol(store: Store, data: bytes, tenant: str, now_ms: int) -> str:
    """The device's id as text. The same file again changes nothing; another one for the same device is refused.

    A later epoch ends the units of the earlier ones; the caller ends their records (`Consents.end_tenures`), as every
    start does.

    RemoteError ``vehicle_tenant`` (unit or vehicle is another tenant's), ``enrolment_ended`` (this pairing was ended),
    ``enrolment_differs``, ``epoch_owner`` (the vehicle has another owner in this epoch: only a later epoch changes
    hands) and all that `parse_enrolment` raises.
    """
    parse_id(tenant, TENANT)
    enrolment = parse_enrolment(data)
    device = Device(
        enrolment.device,
        enrolment.vehicle,
        tenant,
        enrolment.epoch,
        enrolment.sign_key,
        enrolment.receive_key,
        "active",
    )
    owners = {jws.thumbprint(key): key for key in enrolment.owner_keys}
    with store.transaction() as t:
        t.others.change_vehicle(enrolment.vehicle)
        known = t.devices.get(enrolment.device)
        _require_same(known, device)
        for other in t.devices.of_vehicle(enrolment.vehicle):
            if other.tenant != tenant:
                raise _other_tenant(other.tenant)
            if other.epoch > enrolment.epoch:
                raise FormatError("epoch_old", "this vehicle has changed hands since the unit was paired: pair it anew")
        pinned = t.devices.owner_keys(enrolment.vehicle, enrolment.epoch)
        if pinned and pinned != owners:
            raise RemoteError(
                "epoch_owner", "this vehicle has other owner's keys in this epoch: only a new epoch changes hands"
            )
        if known is None:
            t.devices.add(device, now_ms)
            # a sale: whoever still holds a unit of the owner before sends nothing more
            for other in t.devices.of_vehicle(enrolment.vehicle):
                if other.epoch < enrolment.epoch:
                    t.devices.end(other.device, now_ms)
        for thumbprint, key in sorted(owners.items()):
            t.devices.pin_owner_key(enrolment.vehicle, enrolment.epoch, thumbprint, key)
    return device_text(enrolment.device)


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
        t.devices.end(name, now_ms)
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


def _other_tenant(tenant: str) -> RemoteError:
    return RemoteError(
        "vehicle_tenant",
        f"this vehicle is enrolled with {tenant} and stays there: name that one with --tenant. Pairing the unit anew "
        "would wipe its buffer and change nothing here",
    )
