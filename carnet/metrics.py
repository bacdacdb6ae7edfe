"""What a program counts, told as metrics: a table of names with their meaning, and numbers put under it.

Law: a label holds a word of a small set, never what names a car, a unit or a consent. Whatever is not such a word, or
comes after the first LABELS_MAX, is counted as ``other``: nobody who is only counted can fill a monitoring system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

LABELS_MAX: Final = 64
OTHER: Final = "other"
_WORD: Final = re.compile(r"[a-z][a-z0-9_ ]{0,63}|[A-Z][A-Za-z_]{0,63}", re.ASCII)
"""A reason or a name of ours, or the class of an error; capitals never with digits, as in a VIN."""


@dataclass(frozen=True, slots=True)
class Metric:
    """``counted`` is the program's own name of the number; a ``*`` at its end stands for the value of the label.

    ``known`` are values of the label that are told as 0 before they first happen, so that an alert sees the first.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    counted: str = ""
    labels: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with its numbers, by the values of its labels."""

    metric: Metric
    numbers: Mapping[tuple[str, ...], float]


def families(metrics: Iterable[Metric], counted: Mapping[str, float], rest: Metric) -> Iterator[Family]:
    """All ``counted`` under the metrics that name them; what none names stands under ``rest``, by its own name."""
    table = list(metrics)
    found: dict[str, dict[tuple[str, ...], float]] = {metric.name: _zeros(metric) for metric in [*table, rest]}
    for name, number in sorted(counted.items()):
        metric, values = _place(table, name) or (rest, (name,))
        found[metric.name][values] = found[metric.name].get(values, 0) + number
    yield from (family(metric, found[metric.name]) for metric in [*table, rest])


def family(metric: Metric, numbers: Mapping[tuple[str, ...], float]) -> Family:
    """A metric with numbers whose labels may be anything: they come out as words, and not too many of them."""
    told: dict[tuple[str, ...], float] = {}
    for values, number in sorted(numbers.items(), key=lambda item: (item[0] not in _zeros(metric), item[0])):
        words = tuple(value if _WORD.fullmatch(value) else OTHER for value in values)
        if words not in told and len(told) >= LABELS_MAX:
            words = (OTHER,) * len(words)
        told[words] = told.get(words, 0) + number
    return Family(metric, told)


def _zeros(metric: Metric) -> dict[tuple[str, ...], float]:
    return {(value,): 0 for value in metric.known} if metric.labels else {(): 0}


def _place(table: Sequence[Metric], name: str) -> tuple[Metric, tuple[str, ...]] | None:
    """Whole names before those with a star, long ones before short ones."""
    for metric in table:
        if metric.counted == name:
            return metric, ()
    starred = [each for each in table if each.counted.endswith("*") and name.startswith(each.counted[:-1])]
    if not starred:
        return None
    longest = max(starred, key=lambda each: len(each.counted))
    return longest, (name.removeprefix(longest.counted[:-1]),)
