"""Why a path does or does not go to a recipient: one answer per record, from its documents, never from a value.

The reasons are the gate's (`carnet_cloud.gate.Blocked`), asked in its order; after them intake's, if no unit of the car
is heard, and the driver's mode, as the car's units said it last. What only the car knows (ceiling, quality) is not
promised here. Beside them stands what was really blocked and what was confirmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from carnet.errors import ConsentError
from carnet.grants import Grant, GrantItem
from carnet.ids import device_bytes, device_text
from carnet.narrowing import BlockReason, Ceiling, Kind, Mode, barred_by
from carnet_cloud.catalogue import Catalogue, Entry
from carnet_cloud.gate import Blocked, Standing, may_send
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.spans import read
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord

FORWARDED = "forwarded"
DRIVER = BlockReason.DRIVER.value
QUARANTINED = "device_quarantined"
ENDED = "device_ended"
SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        FORWARDED: "it goes to this recipient, as far as the cloud knows; what the car holds back by its ceiling, for "
        "quality, or for want of the signal, `carnet-agent status` tells",
        Blocked.TENURE: "the car has changed hands since",
        Blocked.TENANT: "the record is of another tenant than the unit",
        Blocked.RECIPIENT: "the recipient has ended the consent, or no [[recipient]] of the configuration has its id",
        Blocked.OWNER: "the owner did not choose it, or has paused or withdrawn the consent",
        Blocked.OPERATOR: "the operator has suspended or ended the consent",
        Blocked.UNCONFIRMED: "the store was restored; the owner has to confirm: carnet owner confirm",
        Blocked.LOG: "the owner gave, resumed or renewed it, and the log does not have that yet: within a second",
        Blocked.EXPIRED: "the consent has expired",
        Blocked.SCHEMA: "no mapping file of [catalogue] has this path, or it came with another unit",
        Blocked.OFFER: "the recipient's offer does not ask for it",
        Blocked.SEAL: "not sealed to the key that the offer names, or in one sealed box with what may not leave",
        QUARANTINED: "the car's unit is quarantined: two of it, or an old image, were seen",
        ENDED: "the pairing of the car's unit has ended",
        DRIVER: "the driver's mode keeps it in the car, as the unit said when it last checked in",
        Blocked.TIME: "the consent has not begun, or it was captured outside its time",
    }
)
"""A verdict in words, for people."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``verdict`` is a word of `SENTENCES`; `FORWARDED`: nothing that is known here stands in the way now.

    ``confirmed``: samples that the recipient has; ``blocked``: samples that were kept from it, by reason.
    """

    record: str
    recipient: str
    path: str
    verdict: str
    confirmed: int
    blocked: dict[str, int]


def vehicles_of(t: Transaction, vehicle: str) -> list[bytes]:
    """The vehicle that this id names, all if it names none; ConsentError ``vehicle_unknown`` for any other."""
    known = t.devices.vehicles()
    if not vehicle:
        return known
    name = device_bytes(vehicle)
    if name not in known:
        unit = t.devices.get(name)
        is_unit = f": this is a unit, of vehicle {device_text(unit.vehicle)}" if unit else ""
        raise ConsentError("vehicle_unknown", f"no vehicle {vehicle} is enrolled here{is_unit}")
    return [name]


def why(t: Transaction, book: GrantBook, catalogue: Catalogue, vehicle: bytes, path: str, now_ms: int) -> list[Answer]:
    """One answer for every record that the vehicle ever had, in the order of their ids."""
    blocks = t.blocks.of(vehicle)
    answers = []
    for stored in t.consents.records(vehicle):
        blocked = {b.reason: b.samples for b in blocks if b.record == stored.id and b.path == path}
        standing = book.standing(t, stored.id)
        verdict = _verdict(standing, catalogue.get(path), path, now_ms)
        if verdict == FORWARDED and standing:
            verdict = _car_keeps(t, standing.grant, catalogue, path) or FORWARDED
        answers.append(Answer(stored.id, stored.recipient, path, verdict, _confirmed(t, stored, path), blocked))
    return answers


def _verdict(standing: Standing | None, entry: Entry | None, path: str, now_ms: int) -> str:
    if standing is None:
        return Blocked.OWNER.value
    if entry is None:
        return Blocked.SCHEMA.value
    item = _covers(standing.grant, entry, path)
    if item is not None:
        return item.value
    refused = may_send(standing, now_ms)
    return FORWARDED if refused is None else refused.value


def _covers(grant: Grant, entry: Entry, path: str) -> Blocked | None:
    """None if a chosen item sends this path; the owner's choice, if the offer has one that was not chosen."""
    if _sends(grant.items, entry, path):
        return None
    return Blocked.OWNER if _sends(grant.declined, entry, path) else Blocked.OFFER


def _sends(items: tuple[GrantItem, ...], entry: Entry, path: str) -> bool:
    return any(not item.condition_only and item.matches(path, entry.category) for item in items)


def _car_keeps(t: Transaction, grant: Grant, catalogue: Catalogue, path: str) -> str | None:
    """Why nothing comes from any unit of the vehicle; None if one is heard whose driver's mode lets the path go."""
    units = [unit for unit in t.devices.of_vehicle(device_bytes(grant.vehicle)) if unit.epoch == grant.epoch]
    heard = [unit for unit in units if unit.state == "active"]
    if not heard:
        return QUARANTINED if any(unit.state == "quarantined" for unit in units) else ENDED
    modes = [t.streams.mode(unit.device) for unit in heard]
    return DRIVER if all(_kept_by(mode, grant, catalogue, path) for mode in modes) else None


def _kept_by(mode: Mode, grant: Grant, catalogue: Catalogue, path: str) -> bool:
    """Whether a mode bars the path, or with every item that sends it a condition, which then cannot be judged."""
    entry = catalogue.get(path)
    if entry is None or _bars(mode, entry):
        return True
    items = [item for item in grant.items if not item.condition_only and item.matches(path, entry.category)]
    return all(any(_bars(mode, catalogue.get(condition.path)) for condition in item.when) for item in items)


def _bars(mode: Mode, entry: Entry | None) -> bool:
    """Whether a mode bars a signal; one that is not in the catalogue is the car's to judge, but for mode off."""
    if entry is None:
        return mode is Mode.OFF
    return barred_by(Kind(entry.category, entry.sensitivity), mode, Ceiling()) is not None


def _confirmed(t: Transaction, stored: StoredRecord, path: str) -> int:
    done = (d for d in t.outbox.deliveries(stored.id) if d.outcome == "confirmed")
    spans = (span for d in done for span in read(d.counts, d.first_ms, d.last_ms))
    return sum(span.counts.get(path, 0) for span in spans)
