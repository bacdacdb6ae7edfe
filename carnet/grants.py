"""Grants: what an offer, a record and its events come to, and the questions that both gates ask of it.

Law: `compile_grant` is pure and knows no clock. Time comes in with each question, so that expiry needs no job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from carnet import jws
from carnet.offers import Condition, OfferItem, parse_offer
from carnet.ownerkeys import OwnerKeys
from carnet.recordevents import begin, follow_all, parse_event
from carnet.records import check_record, parse_record
from carnet.signals import Category, DeliveryClass, is_private
from carnet.states import ALIVE, TRANSITIONS, WIDENING, EventKind, State
from carnet.transforms import Transform


@dataclass(frozen=True, slots=True)
class GrantItem:
    """One chosen item: exactly one of ``path`` and ``category`` is not None."""

    path: str | None
    category: Category | None
    condition_only: bool
    """Looked at on the car for somebody's ``when``; never stored or sent."""
    transform: Transform
    delivery_class: DeliveryClass
    when: tuple[Condition, ...]

    def matches(self, path: str, category: Category) -> bool:
        """Whether a signal of this path and category is meant.

        A private path is meant by its own name only: no catalogue counts it to a category, and the cloud refuses it.
        """
        if self.path is not None:
            return self.path == path
        return self.category is category and not is_private(path)


@dataclass(frozen=True, slots=True)
class Grant:
    """One consent as both gates see it. Times in milliseconds since 1970, ids as text."""

    record_id: str
    offer_id: str
    tenant: str
    recipient: str
    vehicle: str
    epoch: int
    reference: str
    state: State
    """After the events alone; `state_at` also looks at the clock."""
    narrowed_by: EventKind | None
    """The event that silenced it; None while ``state`` is GIVEN."""
    given_ms: int
    """When the owner signed it, by his own clock."""
    not_before_ms: int
    covers_from_ms: int
    expires_ms: int
    retention_days: int
    replay_ms: int
    items: tuple[GrantItem, ...]
    declined: tuple[GrantItem, ...]
    """Items of the offer that the owner did not choose; only to say why something is not forwarded."""
    chain: tuple[str, ...]
    """Hash of the record and of every event, hexadecimal."""
    sealed_to: bytes | None = None
    """The recipient's public key, if only it may open the readings: from the offer, which the owner signed for."""

    @property
    def event_seq(self) -> int:
        """Number of the last event, 0 without any."""
        return len(self.chain) - 1

    @property
    def head_hash(self) -> str:
        """Hash of the last entry: the ``prev`` of the next event."""
        return self.chain[-1]

    def state_at(self, now_ms: int) -> State:
        """The state at a time: what the events say, until the end is reached."""
        if now_ms < self.expires_ms:
            return self.state
        return TRANSITIONS.get((self.state, EventKind.EXPIRE), self.state)

    def allows(self, now_ms: int) -> bool:
        """Whether anything may be forwarded now. With an uncertain clock, ask for its earliest and its latest time."""
        return now_ms >= self.not_before_ms and self.state_at(now_ms) is State.GIVEN

    def covers(self, earliest_ms: int, latest_ms: int) -> bool:
        """Whether a reading captured somewhere from ``earliest_ms`` to ``latest_ms`` is covered, wherever it lies."""
        return self.covers_from_ms <= earliest_ms <= latest_ms < self.expires_ms


def compile_grant(offer_bytes: bytes, record_jws: str, events: Sequence[str], owner_keys: OwnerKeys) -> Grant:
    """The grant that these documents come to, in any state; any RemoteError (``docs/consent.md``) refuses them
    together.

    ``offer_bytes`` as they came; ``events`` from seq 1 on, each a token or the operator's canonical JSON.
    """
    offer = parse_offer(offer_bytes)
    record = parse_record(record_jws, owner_keys.known)
    chosen = check_record(record, offer, owner_keys)
    course = follow_all(begin(record, record_jws), events, record, offer, owner_keys.known)
    if course.state in ALIVE and _is_by_removed(record_jws, events, owner_keys.removed):
        course = replace(course, state=State.WITHDRAWN, narrowed_by=EventKind.WITHDRAW)
    return Grant(
        record_id=record.id,
        offer_id=offer.id,
        tenant=offer.tenant,
        recipient=offer.recipient,
        vehicle=record.vehicle,
        epoch=record.epoch,
        reference=record.reference,
        state=course.state,
        narrowed_by=course.narrowed_by,
        given_ms=record.given_ms,
        not_before_ms=record.not_before_ms,
        covers_from_ms=course.covers_from_ms,
        expires_ms=course.expires_ms,
        retention_days=offer.retention_days,
        replay_ms=offer.replay_ms,
        items=tuple(_granted(item) for item in chosen),
        declined=tuple(_granted(item) for item in offer.items if item not in chosen),
        chain=course.chain,
        sealed_to=offer.sealed_to,
    )


def _is_by_removed(record_jws: str, events: Sequence[str], removed: Sequence[bytes]) -> bool:
    """Whether a key that was removed since has given or widened it: that ends with the key, as if withdrawn."""
    return jws.is_by(record_jws, jws.RECORD, removed) or any(
        jws.is_by(entry, jws.EVENT, removed) and parse_event(entry, removed).kind in WIDENING for entry in events
    )


def item_allows(grant: Grant, path: str, category: Category, transform: Transform) -> GrantItem | None:
    """The item under which a column of this signal and transform may be forwarded, if there is one.

    Says nothing about state and time: ask `Grant.allows` and `Grant.covers` as well.
    """
    for item in grant.items:
        if not item.condition_only and item.matches(path, category) and item.transform == transform:
            return item
    return None


def _granted(item: OfferItem) -> GrantItem:
    return GrantItem(item.path, item.category, not item.is_sent, item.transform, item.delivery_class, item.when)
