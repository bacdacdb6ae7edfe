"""Offers and records in plain words, for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from carnet.keys import key_id
from carnet.offers import Offer, OfferItem
from carnet.signals import Category
from carnet.transforms import Transform


def offer_lines(offer: Offer, meant: Mapping[Category, list[str] | None]) -> Iterator[str]:
    """Who asks for what and why, what it reveals, what one gets, and which item has which number; ``meant`` are the
    paths of categories, None for one that the cloud does not tell.
    """
    yield f"{offer.id}  {offer.recipient_name}"
    yield f"  why        {offer.purpose_text}"
    yield f"  reveals    {offer.reveals}"
    yield f"  kept       {offer.retention_days} days, in {offer.storage_location}"
    yield f"  lasts      at most {offer.valid_days} days"
    if offer.sealed_to is not None:
        yield f"  sealed     to the recipient's key {key_id(offer.sealed_to).hex()}: the cloud cannot read it"
    if offer.incentive is not None:
        yield f"  you get    {offer.incentive.value}; refusing costs nothing, and nothing is taken back"
    for number, item in enumerate(offer.items):
        yield item_line(number, item)
        if item.category is not None:
            yield from (f"{'':16}{line}" for line in _category_lines(meant.get(item.category)))


def item_line(number: int, item: OfferItem) -> str:
    """An item of an offer on one line."""
    return f"  {number:>3} {item.need:9} {_what(item)}"


def _category_lines(paths: list[str] | None) -> Iterator[str]:
    if paths is None:
        yield "the cloud does not say which signals these are"
    elif not paths:
        yield "of these the cloud knows none today; what it counts to them later is shared, too"
    else:
        yield "these, as far as the cloud knows today, and what it counts to them later:"
        yield from paths


def record_line(record: dict[str, Any], ended_ms: int | None) -> str:
    """One record on one line; ``ended_ms``: since when it is over."""
    silent = "  (silent until you confirm it: carnet owner confirm)" if record["silent_until_confirmed"] else ""
    until = f"until {day(record['expires_ms'])}" if ended_ms is None else f"ended {day(ended_ms)}"
    return f"{record['record']}  {state_of(record):11} {until}  {record['recipient_name']}{silent}"


def counted(number: int, what: str) -> str:
    """``1 event``, ``2 events``."""
    return f"{number} {noun(number, what)}"


def noun(number: int, what: str) -> str:
    """The noun behind a number."""
    return what if number == 1 else f"{what}s"


def state_of(record: dict[str, Any]) -> str:
    """As the owner knows it: what the operator has ended on his word he has withdrawn."""
    is_his = record.get("narrowed_by") == "owner" and record["state"] in {"revoking", "revoked"}
    return "withdrawn" if is_his else str(record["state"])


def as_json(value: object) -> str:
    """One JSON text, for programs."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1)


def as_line(value: object) -> str:
    """The same on one line."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _what(item: OfferItem) -> str:
    name = item.path or f"everything about {item.category}"
    when = " when " + " and ".join(f"{c.path} {c.op} {c.value}" for c in item.when) if item.when else ""
    return f"{name}, {_how(item.transform)}, {item.delivery_class}{when}"


def _how(transform: Transform) -> str:
    words = []
    if transform.aggregate is not None:
        words.append(f"{'/'.join(transform.aggregate.fields)} over {transform.aggregate.window_ms / 1000:g} s")
    if transform.interval_ms is not None:
        words.append(f"every {transform.interval_ms / 1000:g} s")
    if transform.on_change:
        words.append("on change")
    if transform.dead_band is not None:
        words.append(f"on change by {transform.dead_band}")
    if transform.round is not None:
        words.append(f"rounded to {transform.round}")
    if transform.cell_m is not None:
        words.append(f"as a cell of {transform.cell_m} m")
    return ", ".join(words) or "every reading"


def day(time_ms: int) -> str:
    """Date and minute, in words."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
