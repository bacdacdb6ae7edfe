"""Whether the unit can do its work now: the names of what it lacks, made of what ``status`` tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def missing(facts: Mapping[str, Any]) -> list[str]:
    """``agent``, ``bus <name>``, ``broker`` (no connection), ``cloud`` (no answer on it); empty if it is ready.

    What is granted does not count: a unit with no consent is ready to hear of one.
    """
    return list(_missing(facts))


def _missing(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts["running"]:
        yield "agent"
        return
    yield from (f"bus {name}" for name, bus in facts["buses"].items() if bus["fault"] is not None)
    if not facts["connected"]:
        yield "broker"
    elif not facts["contact"]:
        yield "cloud"
