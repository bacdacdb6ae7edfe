"""What an owner can see: the records as they stand, and who got how much of what under which of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from carnet import jws
from carnet.bodies import DestructionReceipt
from carnet.ids import device_text
from carnet.keys import key_id
from carnet.narrowing import SILENCED_BY
from carnet.offers import parse_offer
from carnet.states import ALIVE, State
from carnet_cloud.gate import Standing
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.spans import Span, read
from carnet_cloud.store import Transaction
from carnet_cloud.store.consents import StoredRecord
from carnet_cloud.store.outbox import Delivery

_NOTHING_GONE: Final = {"receipts": 0, "boxes": 0, "samples": 0, "last_ms": None}


def records_of(t: Transaction, vehicle: bytes, epochs: Collection[int], now_ms: int) -> list[dict[str, Any]]:
    """Every record of a vehicle in these epochs: its state now, the hash to hang the next event on, what waits."""
    book = GrantBook(())
    found = []
    for stored in _records(t, vehicle, epochs):
        standing = book.standing(t, stored.id)
        offer = parse_offer(t.consents.offer(stored.offer) or b"")
        found.append(
            {
                "record": stored.id,
                "offer": stored.offer,
                "recipient": stored.recipient,
                "recipient_name": offer.recipient_name,
                "purpose": offer.purpose_text,
                **generation_of(t, stored),
                "state": _state(standing, stored, now_ms),
                "narrowed_by": _narrowed_by(standing),
                "expires_ms": stored.expires_ms,
                "event_seq": standing.latest.event_seq if standing else 0,
                "head": standing.latest.head_hash if standing else "",
                "log_position": stored.log_position,
                "silent_until_confirmed": stored.silent,
                "jws": stored.jws,
                "events": t.consents.events(stored.id),
                "offer_document": jws.base64url(t.consents.offer(stored.offer) or b""),
            }
        )
    return found


def statement_of(t: Transaction, vehicle: bytes, epochs: Collection[int], now_ms: int) -> dict[str, Any]:
    """Per record of these epochs when it was given and ended, and by outcome events and samples, for every path with
    its first and last capture; what of it the recipient was given once more, which is no further disclosure; which
    units the car has; and what was blocked, why.
    """
    records = _records(t, vehicle, epochs)
    mine = {stored.id for stored in records}
    gone = _on_car(t, vehicle, epochs)
    book = GrantBook(())
    return {
        "time_ms": now_ms,
        "units": _units(t, vehicle, epochs),
        "records": [
            {**_entry(t, stored, book.standing(t, stored.id), now_ms), "on_car": gone.get(stored.id, _NOTHING_GONE)}
            for stored in records
        ],
        "blocked": [
            {"record": b.record, "path": b.path, "reason": b.reason, "samples": b.samples}
            for b in t.blocks.of(vehicle)
            if b.record in mine
        ],
    }


def _units(t: Transaction, vehicle: bytes, epochs: Collection[int]) -> list[dict[str, Any]]:
    """The units that were paired with the car: whether each is heard, and since when one is not for ever."""
    return [
        {"device": device_text(unit.device), "state": unit.state, "ended_ms": t.devices.ended_ms(unit.device)}
        for unit in t.devices.of_vehicle(vehicle)
        if unit.epoch in epochs
    ]


def _on_car(t: Transaction, vehicle: bytes, epochs: Collection[int]) -> dict[str, dict[str, Any]]:
    """By record, what the units of these epochs have signed to be destroyed in the car: what several records shared
    went when the last of them ended, and counts for each.
    """
    found: dict[str, dict[str, Any]] = {}
    for unit in t.devices.of_vehicle(vehicle):
        for body, time_ms in t.streams.reports(unit.device, "destruction") if unit.epoch in epochs else ():
            receipt = DestructionReceipt.parse(body)
            for record in receipt.records:
                before = found.get(record, _NOTHING_GONE)
                found[record] = {
                    "receipts": before["receipts"] + 1,
                    "boxes": before["boxes"] + receipt.boxes,
                    "samples": before["samples"] + receipt.samples,
                    "last_ms": max(before["last_ms"] or 0, time_ms),
                }
    return found


def generation_of(t: Transaction, stored: StoredRecord) -> dict[str, int]:
    """Epoch of a record and generation of its vehicle in it: what an owner's tool keeps and tells us again."""
    return {"epoch": stored.epoch, "generation": t.consents.generation(stored.vehicle, stored.epoch)}


def _records(t: Transaction, vehicle: bytes, epochs: Collection[int]) -> list[StoredRecord]:
    return [stored for stored in t.consents.records(vehicle) if stored.epoch in epochs]


def _state(standing: Standing | None, stored: StoredRecord, now_ms: int) -> str:
    """The state now: only the documents and the clock know it, for nothing is written when a record expires."""
    return standing.latest.state_at(now_ms).value if standing else stored.state


def _narrowed_by(standing: Standing | None) -> str | None:
    """Who is behind its end or pause, whoever wrote the event; None for one that stands or has only expired."""
    kind = standing.latest.narrowed_by if standing else None
    return SILENCED_BY[kind].value if kind else None


def _ended_ms(t: Transaction, stored: StoredRecord, state: State) -> int | None:
    """Since when nothing is forwarded any more, by the server's clock; None while the record lives."""
    if state in ALIVE:
        return None
    if state is State.EXPIRED:
        return stored.expires_ms
    # that it has become silent is an event of its own, after the one that ended it
    back = 2 if state in (State.WITHDRAWN, State.REVOKED) else 1
    times = t.consents.event_times(stored.id)
    return times[-back] if len(times) >= back else None


def _entry(t: Transaction, stored: StoredRecord, standing: Standing | None, now_ms: int) -> dict[str, Any]:
    state = _state(standing, stored, now_ms)
    deliveries = t.outbox.deliveries(stored.id)
    offer = parse_offer(t.consents.offer(stored.offer) or b"")
    outcomes = sorted({delivery.outcome for delivery in deliveries})
    last = t.outbox.last_event(stored.id)
    return {
        "record": stored.id,
        "recipient": stored.recipient,
        "recipient_name": offer.recipient_name,
        "state": state,
        "narrowed_by": _narrowed_by(standing),
        "given_ms": standing.grant.given_ms if standing else None,
        "expires_ms": stored.expires_ms,
        "ended_ms": _ended_ms(t, stored, State(state)),
        **generation_of(t, stored),
        "sealed_to": None if offer.sealed_to is None else key_id(offer.sealed_to).hex(),
        "incentive": None
        if offer.incentive is None
        else {"kind": offer.incentive.kind, "value": offer.incentive.value},
        "last_event_id": last.hex() if last else "",
        "log_position": stored.log_position,
        "account": _account(t, stored),
        "outcomes": {each: _sum([d for d in deliveries if d.outcome == each]) for each in outcomes},
        "replayed": {
            "events": sum(d.replayed for d in deliveries),
            "samples": sum(d.replayed * d.samples for d in deliveries),
        },
    }


def _account(t: Transaction, stored: StoredRecord) -> dict[str, Any]:
    """What the next account in the log would say."""
    tally = t.tallies.get(stored.id, stored.recipient)
    return {
        "accounts": tally.accounts,
        "confirmed": tally.confirmed.document(),
        "unknown": tally.unknown.document(),
        "last_event": tally.last_event.hex(),
    }


def _sum(deliveries: list[Delivery]) -> dict[str, Any]:
    of_path: dict[str, Span] = {}
    for delivery in deliveries:
        for span in read(delivery.counts, delivery.first_ms, delivery.last_ms):
            for path, samples in span.counts.items():
                of_path[path] = _joined(of_path.get(path), path, Span(span.first_ms, span.last_ms, {path: samples}))
    paths = sorted(of_path)
    return {
        "events": len(deliveries),
        "samples": sum(d.samples for d in deliveries),
        "paths": {path: of_path[path].counts[path] for path in paths},
        "captured": {path: {"first_ms": of_path[path].first_ms, "last_ms": of_path[path].last_ms} for path in paths},
        "first_ms": min(d.first_ms for d in deliveries),
        "last_ms": max(d.last_ms for d in deliveries),
    }


def _joined(one: Span | None, path: str, other: Span) -> Span:
    """Two spans of one path as one."""
    if one is None:
        return other
    counts = {path: one.counts[path] + other.counts[path]}
    return Span(min(one.first_ms, other.first_ms), max(one.last_ms, other.last_ms), counts)
