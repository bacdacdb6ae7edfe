"""Offers, records and statements in plain words, for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from carnet.offers import Offer, OfferItem
from carnet.transforms import Transform


def offer_lines(offer: Offer) -> Iterator[str]:
    """Who asks for what and why, what it reveals, what one gets, and which item has which number."""
    yield f"{offer.id}  {offer.recipient_name}"
    yield f"  why        {offer.purpose_text}"
    yield f"  reveals    {offer.reveals}"
    yield f"  kept       {offer.retention_days} days, in {offer.storage_location}"
    yield f"  lasts      at most {offer.valid_days} days"
    if offer.incentive is not None:
        yield f"  you get    {offer.incentive.value}; refusing costs nothing, and nothing is taken back"
    for number, item in enumerate(offer.items):
        yield f"  {number:>3} {item.need:9} {_what(item)}"


def record_line(record: dict[str, Any]) -> str:
    """One record on one line."""
    silent = "  (silent until you confirm it: carnet owner confirm)" if record["silent_until_confirmed"] else ""
    until = day(record["expires_ms"])
    return f"{record['record']}  {record['state']:11} until {until}  {record['recipient_name']}{silent}"


def statement_lines(statement: dict[str, Any]) -> Iterator[str]:
    """Per record what was confirmed, what nobody knows, what was destroyed, and what was blocked and why."""
    for record in statement["records"]:
        yield f"{record['record']}  {record['state']:11} {record['recipient_name']}"
        for outcome, entry in record["outcomes"].items():
            yield f"  {outcome:10} {entry['events']:>6} events {entry['samples']:>9} samples"
            for path, samples in entry["paths"].items():
                yield f"    {samples:>9}  {path}"
    for block in statement["blocked"]:
        yield f"  blocked    {block['samples']:>6} of {block['path']} for {block['record']}: {block['reason']}"


def as_json(value: object) -> str:
    """One JSON text, for programs."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1)


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
