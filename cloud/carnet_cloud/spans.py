"""What an event held, in numbers only: samples by path, and between which captures. No reading is among them.

Law: the owner's statement adds these up and nothing else, so it says of a path what its recipient can count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Samples by path, all captured from ``first_ms`` to ``last_ms`` (ms since 1970)."""

    first_ms: int
    last_ms: int
    counts: Mapping[str, int]


def write(spans: Sequence[Span]) -> str:
    """As a delivery keeps them."""
    found = [[span.first_ms, span.last_ms, dict(sorted(span.counts.items()))] for span in spans]
    return json.dumps(found, separators=(",", ":"))


def read(text: str, first_ms: int, last_ms: int) -> list[Span]:
    """What `write` wrote. Of deliveries from before it only the captures of the whole event are known."""
    document = json.loads(text)
    if isinstance(document, dict):
        return [Span(first_ms, last_ms, document)]
    return [Span(first, last, counts) for first, last, counts in document]
