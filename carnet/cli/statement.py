"""The owner's statement in plain words: per consent what its recipient got of which captures, and what it did not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from carnet.cli.show import counted, day, noun, state_of

NONE: Final = "no consents yet"
BLOCKED: Final = {
    "tenure": "the car has changed hands since",
    "tenant": "the consent is with another tenant of the platform than the car",
    "recipient": "the recipient has ended the consent, or the cloud has none of its name any more",
    "owner": "you did not choose it, or had paused or withdrawn the consent",
    "operator": "the operator had suspended or ended the consent",
    "unconfirmed": "the cloud was restored from a backup: see  carnet owner confirm",
    "log": "you had given, resumed or renewed the consent, and the log did not have that yet",
    "expired": "the consent had expired",
    "schema": "the cloud does not know it, or only in another unit of measure",
    "offer": "the recipient's offer does not ask for it",
    "seal": "it was not sealed to the recipient's key alone",
    "time": "captured before the consent began, while it was paused, or after it",
}
"""Why the cloud kept something from a recipient, for the owner; each word of the gate's."""


def statement_lines(statement: dict[str, Any]) -> Iterator[str]:
    """Per record when it was given and ended, what was confirmed of which captures, what nobody knows, what was
    destroyed, what was blocked and why; and units that are not heard.
    """
    shown = {record["record"] for record in statement["records"]}
    if not shown:
        yield NONE
    for record in statement["records"]:
        yield from _record_lines(record)
        for block in statement["blocked"]:
            if block["record"] == record["record"]:
                yield f"  blocked    {_blocked(block)}"
    for block in statement["blocked"]:
        if block["record"] not in shown:
            yield f"blocked under {block['record']}: {_blocked(block)}"
    for unit in statement["units"]:
        if unit["state"] != "active":
            since = f" since {day(unit['ended_ms'])}" if unit["ended_ms"] is not None else ""
            yield f"unit {unit['device']}: {unit['state']}{since}, nothing of it is taken"


def _record_lines(record: dict[str, Any]) -> Iterator[str]:
    yield f"{record['record']}  {state_of(record):11} {record['recipient_name']}"
    yield f"  {_lasted(record)}"
    if record.get("sealed_to"):
        yield f"  sealed to the key {record['sealed_to']}: samples and captures are what the car declared"
    for outcome, entry in record["outcomes"].items():
        yield f"  {outcome:10} {_sums(entry)}"
        for path, samples in entry["paths"].items():
            yield f"    {samples:>9}  {path}{_captured(entry['captured'].get(path))}"
    if record["replayed"]["events"]:
        yield f"  once more  {_sums(record['replayed'])} that it had already"
    if record["on_car"]["receipts"]:
        yield f"  {_on_car(record['on_car'])}"


def _sums(entry: dict[str, int]) -> str:
    """In columns: the nouns are equally long."""
    events, samples = entry["events"], entry["samples"]
    return f"{events:>6} {noun(events, 'event'):6} {samples:>9} {noun(samples, 'sample')}"


def _blocked(block: dict[str, Any]) -> str:
    what = block["path"] or "signals that no mapping of the cloud names"
    why = BLOCKED.get(block["reason"], block["reason"])
    return f"{block['samples']:>6} {noun(block['samples'], 'sample')} of {what}: {why}"


def _on_car(gone: dict[str, Any]) -> str:
    last = f", last {day(gone['last_ms'])}" if gone["last_ms"] is not None else ""
    return f"destroyed in the car before it was sent: {counted(gone['samples'], 'sample')}{last}"


def _lasted(record: dict[str, Any]) -> str:
    given = f"given {day(record['given_ms'])}" if record["given_ms"] is not None else "given"
    if record["ended_ms"] is None:
        return f"{given}, lasts until {day(record['expires_ms'])}"
    return f"{given}, {state_of(record)} {day(record['ended_ms'])}"


def _captured(times: dict[str, int] | None) -> str:
    """First and last, by the minute; once where they are the same."""
    if times is None:
        return ""
    first, last = day(times["first_ms"]), day(times["last_ms"])
    return f"  captured {first}" + (f" to {last}" if last != first else "")
