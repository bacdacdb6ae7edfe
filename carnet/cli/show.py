"""Offers, records and statements in plain words, for a terminal."""

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


def record_line(record: dict[str, Any]) -> str:
    """One record on one line."""
    silent = "  (silent until you confirm it: carnet owner confirm)" if record["silent_until_confirmed"] else ""
    until = day(record["expires_ms"])
    return f"{record['record']}  {record['state']:11} until {until}  {record['recipient_name']}{silent}"


def statement_lines(statement: dict[str, Any]) -> Iterator[str]:
    """Per record when it was given and ended, what was confirmed of which captures, what nobody knows, what was
    destroyed; what was blocked and why; and units that are not heard.
    """
    for record in statement["records"]:
        yield f"{record['record']}  {record['state']:11} {record['recipient_name']}"
        yield f"  {_lasted(record)}"
        if record.get("sealed_to"):
            yield f"  sealed to the key {record['sealed_to']}: samples and captures are what the car declared"
        for outcome, entry in record["outcomes"].items():
            yield f"  {outcome:10} {entry['events']:>6} events {entry['samples']:>9} samples"
            for path, samples in entry["paths"].items():
                yield f"    {samples:>9}  {path}{_captured(entry['captured'].get(path))}"
        if again := record["replayed"]["events"]:
            yield f"  once more  {again:>6} events {record['replayed']['samples']:>9} samples that it had already"
        if record["on_car"]["receipts"]:
            yield f"  {_on_car(record['on_car'])}"
    for block in statement["blocked"]:
        what = block["path"] or "signals that no mapping of the cloud names"
        yield f"  blocked    {block['samples']:>6} of {what} for {block['record']}: {block['reason']}"
    for unit in statement["units"]:
        if unit["state"] != "active":
            since = f" since {day(unit['ended_ms'])}" if unit["ended_ms"] is not None else ""
            yield f"  unit       {unit['device']}: {unit['state']}{since}, nothing of it is taken"


def _on_car(gone: dict[str, Any]) -> str:
    last = f", last {day(gone['last_ms'])}" if gone["last_ms"] is not None else ""
    return f"destroyed in the car before it was sent {gone['samples']:>9} samples{last}"


def _lasted(record: dict[str, Any]) -> str:
    given = f"given {day(record['given_ms'])}" if record["given_ms"] is not None else "given"
    if record["ended_ms"] is None:
        return f"{given}, lasts until {day(record['expires_ms'])}"
    return f"{given}, {record['state']} {day(record['ended_ms'])}"


def _captured(times: dict[str, int] | None) -> str:
    return f"  captured {day(times['first_ms'])} to {day(times['last_ms'])}" if times else ""


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
