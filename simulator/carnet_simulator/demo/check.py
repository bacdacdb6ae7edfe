"""Judges what arrived against what was agreed, reading by reading, from the documents alone.

Law: it shares no code with collector or gate. An event that names no consent, a path or transform that nobody agreed
to, a time outside the consent, a value finer or more often than granted: each is one sentence.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

LATITUDE: Final = "Vehicle.CurrentLocation.Latitude"
LONGITUDE: Final = "Vehicle.CurrentLocation.Longitude"
METRES_PER_DEGREE: Final = 110_574
SENTENCES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Permission:
    """One consent as the owner gave it: item documents that may be sent, and the time in which readings may be made."""

    record: str
    items: tuple[dict[str, Any], ...]
    from_ms: int
    until_ms: int


def violations(recipient: str, events: Iterable[dict[str, Any]], permissions: Mapping[str, Permission]) -> list[str]:
    """What one recipient got and was not to get, at most `SENTENCES_MAX` sentences. ``permissions``: by record."""
    found: dict[str, None] = {}
    series: dict[tuple[str, str, str, str], list[tuple[int, int]]] = defaultdict(list)
    generation = 0
    for event in events:
        data = event["data"]
        generation = max(generation, data["generation"])
        permission = permissions.get(data["record"])
        if permission is None:
            found[f"{recipient}: an event names the record {data['record']}, which is no consent for it"] = None
            continue
        for column in data["columns"]:
            for sentence in _column(column, permission, data["columns"]):
                found[f"{recipient}: {column['path']}: {sentence}"] = None
            key = (data["record"], column["path"], _text(column["transform"]), column.get("field", ""))
            series[key] += [(t, column["uncertainty_ms"]) for t in column["t_ms"]]
    for (_, path, transform, _), times in series.items():
        sentence = _too_often(sorted(times), json.loads(transform), generation)
        if sentence:
            found[f"{recipient}: {path}: {sentence}"] = None
    return list(found)[:SENTENCES_MAX]


def _column(column: dict[str, Any], permission: Permission, columns: list[dict[str, Any]]) -> list[str]:
    found = []
    transform = column["transform"]
    matching = [item for item in permission.items if item.get("path") == column["path"]]
    if not matching:
        found.append("nobody agreed to it")
    elif not any(_text(item["transform"]) == _text(transform) for item in matching):
        found.append(f"sent under {_text(transform)}, which nobody agreed to")
    if column.get("field", "") not in (transform.get("aggregate", {}).get("fields") or [""]):
        found.append("an aggregate that nobody agreed to")
    if len(column["t_ms"]) != len(column["v"]):
        found.append("times and values are not as many")
    if any(not permission.from_ms <= t < permission.until_ms for t in column["t_ms"]):
        found.append("captured outside the time of the consent")
    if "round" in transform and not all(_is_multiple(v, transform["round"], transform) for v in column["v"]):
        found.append(f"finer than {transform['round']}")
    if "cell_m" in transform and not _in_cells(column, columns, transform["cell_m"]):
        found.append(f"not the middle of a cell of {transform['cell_m']} m")
    return found


def _is_multiple(value: object, step: str, transform: dict[str, Any]) -> bool:
    """A mean is finer than its samples and a count is no reading: these are not looked at."""
    if value is None or {"mean", "count"} & set(transform.get("aggregate", {}).get("fields", ())):
        return True
    quotient = Fraction(str(value)) / Fraction(step)
    return abs(quotient - round(quotient)) < Fraction(1, 10**6)


def _in_cells(column: dict[str, Any], columns: list[dict[str, Any]], metres: int) -> bool:
    """A latitude lies in the middle of its row, and a longitude comes only together with latitudes of its times."""
    if column["path"] == LATITUDE:
        return all(abs(_middle_of_row(round(v * 1e7), metres) - round(v * 1e7)) <= 1 for v in column["v"])
    rows = [c for c in columns if c["path"] == LATITUDE and c["transform"] == column["transform"]]
    return column["path"] == LONGITUDE and set(column["t_ms"]) <= {t for row in rows for t in row["t_ms"]}


def _middle_of_row(latitude: int, metres: int) -> int:
    """In 10⁻⁷ degrees, as docs/transforms.md computes it."""
    row = latitude * METRES_PER_DEGREE // (metres * 10**7)
    return (2 * row + 1) * metres * 10**7 // (2 * METRES_PER_DEGREE)


def _too_often(times: list[tuple[int, int]], transform: dict[str, Any], changes: int) -> str:
    """Whether samples come closer than the interval. A change of the consents may begin a column anew, once each."""
    interval_ms = transform.get("interval_ms")
    if not interval_ms or len(times) < 2:
        return ""
    if transform.get("on_change") or "dead_band" in transform:
        # a held-back change keeps its own, earlier time: only their number is bounded
        most = (times[-1][0] - times[0][0]) // interval_ms + 2 + changes
        return f"more than one in {interval_ms} ms" if len(times) > most else ""
    close = sum(
        later - earlier + unsure + unsure_later < interval_ms
        for (earlier, unsure), (later, unsure_later) in pairwise(times)
    )
    return f"{close} samples closer than {interval_ms} ms" if close > changes else ""


def _text(transform: object) -> str:
    return json.dumps(transform, sort_keys=True)
