"""Take a unit's enrolment: from then on its signature counts, and its owner's."""

from __future__ import annotations

from carnet import jws
from carnet.enrolment import parse_enrolment
from carnet.errors import FormatError, RemoteError
from carnet.ids import TENANT, device_text, parse_id
from carnet_cloud.store import Store
from carnet_cloud.store.devices import Device


def enrol(store: Store, data: bytes, tenant: str, now_ms: int) -> str:
    """The device's id as text. The same file again changes nothing; another one for the same device is refused.

    A later epoch ends the units of the earlier ones; the caller ends their records (`Consents.end_tenures`), as every
    start does.

    RemoteError ``enrolment_differs``, ``vehicle_tenant`` (the vehicle is another tenant's), ``epoch_owner`` (the
    vehicle has another owner in this epoch: only a later epoch changes hands) and all that `parse_enrolment` raises.
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
        known = t.devices.get(enrolment.device)
        if known is not None and known != device:
            raise RemoteError(
                "enrolment_differs", "this unit is enrolled with other keys or in another vehicle: pair it anew"
            )
        for other in t.devices.of_vehicle(enrolment.vehicle):
            if other.tenant != tenant:
                raise RemoteError("vehicle_tenant", "this vehicle is enrolled with another tenant")
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
                    t.devices.set_state(other.device, "ended")
        for thumbprint, key in sorted(owners.items()):
            t.devices.pin_owner_key(enrolment.vehicle, enrolment.epoch, thumbprint, key)
    return device_text(enrolment.device)
