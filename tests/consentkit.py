"""An owner, a recipient and their documents for tests: every call gives a valid one, and takes what is to be different.

Law: nothing random and no clock. What is wrong in a test is what the test itself changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from carnet import canonical, jws
from carnet.consent import (
    Documents,
    EventKind,
    GrantSet,
    OwnerKeys,
    Record,
    RecordEvent,
    choose,
    entry_hash,
    parse_grant_set,
    parse_offer,
    sign_record,
    write_event,
)
from carnet.consent import encode_grant_set as encode
from carnet.ids import device_text, format_id
from carnet.keys import BoxKey, SigningKey

DAY_MS = 86_400_000
GIVEN_MS = 1_760_000_000_000
OWNER_KEY, OTHER_KEY, SECOND_KEY = (SigningKey.from_seed(bytes([n]) * 32) for n in (0x11, 0x22, 0x33))
VEHICLE, OTHER_VEHICLE = device_text(bytes(range(16))), device_text(bytes(range(1, 17)))
OWNER = OwnerKeys(VEHICLE, 1, (OWNER_KEY.public,))
TENANT = format_id("ten_", b"tenant-one")
RECIPIENT = format_id("rcp_", b"repairshop")
RECIPIENT_NAME = "Werkstatt Süd"
OFFER_ID, RECORD_ID, OTHER_RECORD_ID = (
    format_id(kind, name) for kind, name in (("off_", b"offer--one"), ("rec_", b"record-one"), ("rec_", b"record-two"))
)
SPEED, ODOMETER = "Vehicle.Speed", "Vehicle.TraveledDistance"
LATITUDE, LONGITUDE = "Vehicle.CurrentLocation.Latitude", "Vehicle.CurrentLocation.Longitude"
IGNITION = "Vehicle.LowVoltageSystemState"


def item(target: str, need: str = "required", **changes: Any) -> dict[str, Any]:
    """An item of an offer; a target with a dot is a path, otherwise a category."""
    kind = "path" if "." in target else "category"
    return {kind: target, "need": need, "transform": {}, "class": "background", "when": [], **changes}


def when(path: str, op: str, value: str) -> dict[str, Any]:
    """A condition."""
    return {"path": path, "op": op, "value": value}


def items() -> list[dict[str, Any]]:
    """What the example offer asks for: three items, and a condition of the second."""
    return [
        item(ODOMETER, transform={"interval_ms": 60_000}),
        item(SPEED, "optional", transform={"interval_ms": 1000, "round": "0.5"}, when=[when(IGNITION, ">=", "2")]),
        item(IGNITION, "condition"),
        item("maintenance", "optional", **{"class": "event"}),
    ]


def offer_document(**changes: Any) -> dict[str, Any]:
    """The example offer as an object."""
    return {
        "v": 1,
        "type": "offer",
        "id": OFFER_ID,
        "tenant": TENANT,
        "recipient": RECIPIENT,
        "recipient_name": RECIPIENT_NAME,
        "purpose": {"code": "dpv:VehicleMaintenance", "text": "We tell you when a service is due."},
        "items": items(),
        "reveals": "How far and how fast the car is driven.",
        "retention_days": 90,
        "valid_days": 365,
        "storage_location": "DE",
        "incentive": {"kind": "discount", "value": "10 % on the next service", "ends": "with_consent"},
        "replay_ms": 0,
        "created_ms": GIVEN_MS - DAY_MS,
        **changes,
    }


def offer_bytes(**changes: Any) -> bytes:
    """The example offer as bytes."""
    return canonical.encode(offer_document(**changes))


OFFER = offer_bytes()
RECIPIENT_KEY = BoxKey.from_seed(b"\x06" * 32)
"""The example recipient's, for offers whose readings are sealed to it."""


def sealed_to(key: BoxKey = RECIPIENT_KEY) -> dict[str, Any]:
    """What makes an offer one whose readings only the holder of ``key`` reads."""
    return {"v": 2, "sealed_to": {"key": jws.base64url(key.public), "kid": key.kid.hex()}}


def record(offer: bytes = OFFER, optional: tuple[int, ...] = (1,), **changes: Any) -> Record:
    """The example owner's yes to an offer, not yet signed."""
    parsed = parse_offer(offer)
    return replace(
        Record(
            id=RECORD_ID,
            offer=parsed.id,
            offer_hash=parsed.hash,
            tenant=parsed.tenant,
            recipient=parsed.recipient,
            vehicle=VEHICLE,
            epoch=1,
            items=choose(parsed, optional),
            reference="Auftrag 4711",
            language="de",
            given_ms=GIVEN_MS,
            not_before_ms=GIVEN_MS,
            expires_ms=GIVEN_MS + 30 * DAY_MS,
        ),
        **changes,
    )


def token(offer: bytes = OFFER, key: SigningKey = OWNER_KEY, **changes: Any) -> str:
    """The example owner's signed yes to an offer."""
    return sign_record(record(offer, **changes), key.secret)


def event(
    kind: str, entries: list[str], time_ms: int = GIVEN_MS + DAY_MS, key: SigningKey | None = None, **changes: Any
) -> str:
    """The event that follows ``entries`` (a record's token and its events so far), signed if it is the owner's to
    make.
    """
    operators = kind in ("suspend", "revoke", "terminate", "invalidate", "silent")
    following = RecordEvent(
        record=RECORD_ID,
        seq=len(entries),
        kind=EventKind(kind),
        time_ms=time_ms,
        prev=entry_hash(entries[-1]),
        reason="for_a_test" if operators else "",
    )
    return write_event(replace(following, **changes), None if operators else (key or OWNER_KEY).secret)


def entries(*kinds: str, offer: bytes = OFFER, step_ms: int = DAY_MS, **changes: Any) -> list[str]:
    """A record's token and one event after the other, a day apart; a renewal is for 60 more days."""
    found = [token(offer, **changes)]
    expires_ms = GIVEN_MS + 30 * DAY_MS
    for number, kind in enumerate(kinds, 1):
        extra: dict[str, Any] = {}
        if kind == "renew":
            expires_ms += 60 * DAY_MS
            extra = {"expires_ms": expires_ms}
        if "id" in changes:
            extra["record"] = changes["id"]
        found.append(event(kind, found, GIVEN_MS + number * step_ms, **extra))
    return found


def documents(*kinds: str, offer: bytes = OFFER, **changes: Any) -> Documents:
    """The same as one record of a grant set."""
    first, *rest = entries(*kinds, offer=offer, **changes)
    return Documents(offer, first, tuple(rest))


def grant_set(generation: int = 1, *records: Documents, **changes: Any) -> GrantSet:
    """A grant set as the car gets it: written and read again."""
    return parse_grant_set(encode(replace(GrantSet(VEHICLE, 1, generation, records=records), **changes)))
