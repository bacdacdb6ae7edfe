"""Everything added up twice: from the recipients' own files and from the cloud's statement to the owner.

Law: the two are never mixed. Where nobody knows whether a delivery arrived, the statement says so, and only so much
may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sum:
    """Events, and samples by path."""

    events: int = 0
    paths: Counter[str] = field(default_factory=Counter)

    @property
    def samples(self) -> int:
        return self.paths.total()

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.events + other.events, self.paths + other.paths)


def of_files(events: Iterable[dict[str, Any]]) -> dict[str, Sum]:
    """By record, from the events in a recipient's file."""
    found: dict[str, Sum] = {}
    for event in events:
        paths = Counter[str]()
        for column in event["data"]["columns"]:
            paths[column["path"]] += len(column["v"])
        record = event["data"]["record"]
        found[record] = found.get(record, Sum()) + Sum(1, paths)
    return found


def of_statement(statement: dict[str, Any], outcome: str) -> dict[str, Sum]:
    """By record, of the deliveries with this outcome (``confirmed``, ``unknown``, …)."""
    return {
        entry["record"]: Sum(entry["outcomes"][outcome]["events"], Counter(entry["outcomes"][outcome]["paths"]))
        for entry in statement["records"]
        if outcome in entry["outcomes"]
    }


def differences(files: dict[str, Sum], statement: dict[str, Any]) -> list[str]:
    """What the two say differently: one sentence each, none if they agree."""
    confirmed, unknown = of_statement(statement, "confirmed"), of_statement(statement, "unknown")
    found = []
    for record in sorted(files.keys() | confirmed.keys() | unknown.keys()):
        got, sure, unsure = (each.get(record, Sum()) for each in (files, confirmed, unknown))
        if not sure.events <= got.events <= sure.events + unsure.events:
            found.append(
                f"{record}: {got.events} events in the file, {_range(sure.events, unsure.events)} in the statement"
            )
        for path in sorted(got.paths.keys() | sure.paths.keys()):
            mine, least, open_ = got.paths[path], sure.paths[path], unsure.paths[path]
            if not least <= mine <= least + open_:
                found.append(f"{record}: {mine} samples of {path} in the file, {_range(least, open_)} in the statement")
    return found


def _range(sure: int, unsure: int) -> str:
    return f"{sure}" if not unsure else f"{sure} to {sure + unsure}"
