"""The records of a vehicle as compiled grants, read in the transaction that asks.

Law: what is decided is decided from the stored documents; a compiled grant is kept only under the hash of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace

from carnet.errors import ConsentError, RemoteError
from carnet.grants import Grant, compile_grant
from carnet.ids import device_text
from carnet.ownerkeys import OwnerKeys
from carnet_cloud.gate import Standing, may_send
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord

CACHE_MAX = 100_000


class GrantBook:
    """Compiles and remembers; ``recipients`` are the ids that somebody is configured to receive for.

    ``is_pending`` is the journal's word that a record was narrowed although the store does not say so yet: whoever
    forwards needs it.
    """

    def __init__(self, recipients: Collection[str], is_pending: Callable[[str], bool] = lambda _: False) -> None:
        self._recipients = frozenset(recipients)
        self._is_pending = is_pending
        self._compiled: dict[bytes, Grant | None] = {}

    def standing(self, t: Transaction, record: str) -> Standing | None:
        """How things stand with a record; None if it is unknown or its documents do not compile."""
        stored = t.consents.record(record)
        if stored is None:
            return None
        events = t.consents.events(stored.id)
        latest = self._grant(t, stored, events)
        # what is in force is a beginning of the entries: what widens and is not logged yet stands behind it
        in_force = self._grant(t, stored, events[: stored.in_force - 1]) if stored.in_force else latest
        if latest is None or in_force is None:
            return None
        silent = stored.silent or self._is_pending(record)
        standing = Standing(in_force, silent, stored.recipient in self._recipients, stored.log_position)
        return standing if stored.in_force > len(events) else replace(standing, coming=latest)

    def may_send(self, t: Transaction, record: str, now_ms: int) -> bool:
        """The gate's answer for the forwarder."""
        return may_send(self.standing(t, record), now_ms) is None

    def _grant(self, t: Transaction, stored: StoredRecord, events: list[str]) -> Grant | None:
        # their number would not do: a store that went back in time comes to the same number with other events
        tokens = t.devices.owner_tokens(stored.vehicle, stored.epoch)
        key = hashlib.blake2b("\n".join((stored.jws, *events, "", *tokens)).encode(), digest_size=16).digest()
        if key not in self._compiled:
            if len(self._compiled) >= CACHE_MAX:
                self._compiled.clear()
            self._compiled[key] = _compile(t, stored, events)
        return self._compiled[key]


def owner_keys(t: Transaction, vehicle: bytes, epoch: int) -> OwnerKeys:
    """The keys whose signature counts for this vehicle and epoch: those enrolled, and what tokens of theirs came to."""
    pinned = OwnerKeys(device_text(vehicle), epoch, tuple(t.devices.owner_keys(vehicle, epoch).values()))
    return pinned.with_tokens(t.devices.owner_tokens(vehicle, epoch))


def tenure_of(t: Transaction, vehicle: bytes) -> tuple[int, str]:
    """Current epoch and tenant of a vehicle: those of its active device."""
    devices = [device for device in t.devices.of_vehicle(vehicle) if device.state == "active"]
    if not devices:
        raise ConsentError("vehicle_unknown", f"no unit of vehicle {device_text(vehicle)} is enrolled here")
    newest = max(devices, key=lambda device: device.epoch)
    return newest.epoch, newest.tenant


def _compile(t: Transaction, stored: StoredRecord, events: list[str]) -> Grant | None:
    offer = t.consents.offer(stored.offer)
    if offer is None:
        return None
    try:
        return compile_grant(offer, stored.jws, events, owner_keys(t, stored.vehicle, stored.epoch))
    except RemoteError:
        t.counters.add("stored_record_refused")
        return None
