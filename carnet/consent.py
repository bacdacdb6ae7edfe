"""Consent: everything that car and cloud need to judge alike, in one place to import from.

Law: nobody's by default. Every name here is pure: documents, keys and time come in, a decision or one refusal comes
out. ``docs/consent.md`` is the contract.
"""

from __future__ import annotations

from carnet.grants import Grant, GrantItem, item_allows
from carnet.grants import compile_grant as compile  # noqa: A004 -- read as consent.compile
from carnet.grantsets import (
    CompiledSet,
    Documents,
    Floors,
    GrantSet,
    Head,
    Refused,
    compile_set,
    encode_grant_set,
    parse_grant_set,
)
from carnet.narrowing import Block, BlockReason, Ceiling, Kind, Mode, Wanted, explain, narrow
from carnet.offers import Condition, Incentive, Offer, OfferItem, offer_hash, parse_offer
from carnet.ownerkeys import OwnerKeys, encode_owner, parse_owner, sign_addition, sign_removal
from carnet.recordevents import RecordEvent, entry_hash, parse_event, write_event
from carnet.records import Record, check_record, choose, parse_record, sign_record
from carnet.states import ACTORS, ALIVE, TRANSITIONS, WIDENING, Actor, EventKind, State

__all__ = [
    "ACTORS",
    "ALIVE",
    "TRANSITIONS",
    "WIDENING",
    "Actor",
    "Block",
    "BlockReason",
    "Ceiling",
    "CompiledSet",
    "Condition",
    "Documents",
    "EventKind",
    "Floors",
    "Grant",
    "GrantItem",
    "GrantSet",
    "Head",
    "Incentive",
    "Kind",
    "Mode",
    "Offer",
    "OfferItem",
    "OwnerKeys",
    "Record",
    "RecordEvent",
    "Refused",
    "State",
    "Wanted",
    "check_record",
    "choose",
    "compile",
    "compile_set",
    "encode_grant_set",
    "encode_owner",
    "entry_hash",
    "explain",
    "item_allows",
    "narrow",
    "offer_hash",
    "parse_event",
    "parse_grant_set",
    "parse_offer",
    "parse_owner",
    "parse_record",
    "sign_addition",
    "sign_record",
    "sign_removal",
    "write_event",
]
