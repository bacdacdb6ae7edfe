"""Why a path does or does not go to a recipient: one answer per record, from its documents, never from a value.

The reasons are the gate's (`carnet_cloud.gate.Blocked`), asked in its order; beside them stands what was really
blocked and what was confirmed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from carnet.grants import Grant, GrantItem
from carnet_cloud.catalogue import Catalogue, Entry
from carnet_cloud.gate import Blocked, Standing, may_send
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord

FORWARDED = "forwarded"
SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        FORWARDED: "it goes to this recipient",
        Blocked.TENURE: "the car has changed hands since",
        Blocked.TENANT: "the record is of another tenant than the unit",
        Blocked.RECIPIENT: "the recipient has ended the consent, or no [[recipient]] of the configuration has its id",
        Blocked.OWNER: "the owner did not choose it, or has paused or withdrawn the consent",
        Blocked.OPERATOR: "the operator has suspended or ended the consent",
        Blocked.UNCONFIRMED: "the store was restored; the owner has to confirm: carnet owner confirm",
        Blocked.EXPIRED: "the consent has expired",
        Blocked.SCHEMA: "no mapping file of [catalogue] has this path, or it came with another unit",
        Blocked.OFFER: "the recipient's offer does not ask for it",
        Blocked.TIME: "the consent has not begun, or it was captured outside its time",
    }
)
"""A verdict in words, for people."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``verdict`` is a reason of the gate, or `FORWARDED`: nothing here stands in the way now.

    ``confirmed``: samples that the recipient has; ``blocked``: samples that were kept from it, by reason.
    """

    record: str
    recipient: str
    path: str
    verdict: str
    confirmed: int
    blocked: dict[str, int]


def why(t: Transaction, book: GrantBook, catalogue: Catalogue, vehicle: bytes, path: str, now_ms: int) -> list[Answer]:
    """One answer for every record that the vehicle ever had, in the order of their ids."""
    blocks = t.blocks.of(vehicle)
    answers = []
    for stored in t.consents.records(vehicle):
        blocked = {b.reason: b.samples for b in blocks if b.record == stored.id and b.path == path}
        verdict = _verdict(book.standing(t, stored.id), catalogue.get(path), path, now_ms)
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


def _confirmed(t: Transaction, stored: StoredRecord, path: str) -> int:
    done = (d for d in t.outbox.deliveries(stored.id) if d.outcome == "confirmed")
    return sum(json.loads(delivery.counts).get(path, 0) for delivery in done)
