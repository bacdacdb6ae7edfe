"""Records: the owner's signed yes to an offer. The form is in ``docs/consent.md``.

Law: a record is worth nothing without the very bytes of the offer that it names; `check_record` compares the two.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from carnet import fields, ids, jws
from carnet.errors import ConsentError, LocalProtocolError, RemoteError
from carnet.offers import ITEMS_MAX, Offer, OfferItem, cells_paired, conditions_of
from carnet.ownerkeys import EPOCH_MAX, OwnerKeys
from carnet.refusals import DAY_MS, identity, integer, named_members, refused_as, vehicle_text

_MEMBERS: Final = (
    "v", "type", "id", "offer", "offer_hash", "tenant", "recipient", "vehicle", "epoch", "items", "reference",
    "language", "given_ms", "not_before_ms", "expires_ms",
)  # fmt: skip
_REFERENCE: Final = re.compile(r"[ -~]{0,64}", re.ASCII)
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[A-Z]{2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    """A parsed record; ``items`` are indices into the offer's items. Times in milliseconds since 1970."""

    id: str
    offer: str
    offer_hash: str
    tenant: str
    recipient: str
    vehicle: str
    epoch: int
    items: tuple[int, ...]
    reference: str
    language: str
    given_ms: int
    not_before_ms: int
    expires_ms: int


def choose(offer: Offer, optional: Iterable[int] = ()) -> tuple[int, ...]:
    """The indices of a yes to every required item and these optional ones, with the conditions that they need.

    LocalProtocolError ``not_optional`` if one of them is no optional item of the offer.
    """
    wanted = set(optional)
    if not wanted <= {n for n, item in enumerate(offer.items) if item.need == "optional"}:
        raise LocalProtocolError("not_optional", "only optional items of the offer can be chosen")
    sent = {n for n, item in enumerate(offer.items) if item.need == "required"} | wanted
    needed = conditions_of(tuple(offer.items[n] for n in sorted(sent)))
    looked_at = {n for n, item in enumerate(offer.items) if not item.is_sent and item.path in needed}
    return tuple(sorted(sent | looked_at))


def sign_record(record: Record, secret: bytes) -> str:
    """The token of a record; ``secret`` is libsodium's 64 bytes of one of the owner's keys."""
    document = {"v": 1, "type": "record", **dataclasses.asdict(record)}
    return jws.sign(jws.RECORD, document, secret)


def parse_record(token: str, keys: Iterable[bytes]) -> Record:
    """The record in ``token``, signed by one of ``keys``; `carnet.jws.verify`'s reasons or ConsentError
    ``record_malformed``.
    """
    document = jws.verify(token, jws.RECORD, keys)
    with refused_as("record_malformed"):
        members = named_members(document, *_MEMBERS)
        integer(members["v"], 1, 1)
        fields.choice(members["type"], "record")
        return Record(
            id=identity(members["id"], ids.RECORD),
            offer=identity(members["offer"], ids.OFFER),
            offer_hash=fields.hex_bytes(members["offer_hash"], 32).hex(),
            tenant=identity(members["tenant"], ids.TENANT),
            recipient=identity(members["recipient"], ids.RECIPIENT),
            vehicle=vehicle_text(members["vehicle"]),
            epoch=integer(members["epoch"], 1, EPOCH_MAX),
            items=tuple(integer(n, 0, ITEMS_MAX - 1) for n in fields.items(members["items"], 1, ITEMS_MAX)),
            reference=fields.text(members["reference"], _REFERENCE),
            language=fields.text(members["language"], _LANGUAGE),
            given_ms=integer(members["given_ms"], 0),
            not_before_ms=integer(members["not_before_ms"], 0),
            expires_ms=integer(members["expires_ms"], 0),
        )


def claimed_id(token: str) -> str | None:
    """The id that a token claims to be the record of, with nobody's word for it; None if it cannot be read."""
    try:
        document = jws.unverified(token)
        return identity(document["id"], ids.RECORD) if isinstance(document, dict) and "id" in document else None
    except RemoteError:
        return None


def check_record(record: Record, offer: Offer, owner: OwnerKeys) -> tuple[OfferItem, ...]:
    """The chosen items, if the record is a yes to this offer for this owner's vehicle; ConsentError ``record_…``."""
    if (record.offer, record.offer_hash, record.tenant, record.recipient) != (
        offer.id, offer.hash, offer.tenant, offer.recipient
    ):  # fmt: skip
        raise ConsentError("record_offer", "a record was made for another offer, or the offer was changed afterwards")
    if record.vehicle != owner.vehicle:
        raise ConsentError("record_vehicle", "a record is for another vehicle")
    if record.epoch != owner.epoch:
        raise ConsentError("record_epoch", "a record is of another epoch: the vehicle has changed hands")
    _check_times(record, offer)
    return _chosen(record, offer)


def _check_times(record: Record, offer: Offer) -> None:
    if record.not_before_ms < record.given_ms:
        raise ConsentError("record_backdated", "a record begins before it was given")
    if not record.not_before_ms < record.expires_ms <= record.given_ms + offer.valid_days * DAY_MS:
        raise ConsentError("record_validity", "a record ends before it begins or lasts longer than the offer allows")


def _chosen(record: Record, offer: Offer) -> tuple[OfferItem, ...]:
    """The chosen items of the offer, if they may be chosen together."""
    if list(record.items) != sorted(set(record.items)) or record.items[-1] >= len(offer.items):
        raise ConsentError("record_items", "chosen items are outside the offer or not in ascending order")
    chosen = tuple(offer.items[n] for n in record.items)
    if any(item.need == "required" and item not in chosen for item in offer.items):
        raise ConsentError("record_required", "a required item of the offer is not chosen")
    if not any(item.is_sent for item in chosen):
        raise ConsentError("record_items", "nothing that is chosen would be sent")
    needed = conditions_of(chosen)
    looked_at = {item.path for item in chosen if not item.is_sent}
    if not needed <= {item.path for item in chosen} or not looked_at <= needed:
        raise ConsentError("record_condition", "a condition that is needed is not chosen, or one that nobody needs is")
    if not cells_paired(chosen):
        raise ConsentError("record_cell", "of latitude and longitude only one is chosen as a cell")
    return chosen
