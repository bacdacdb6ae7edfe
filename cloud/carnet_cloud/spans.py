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


@dataclass(frozen=True, slots=True)
class Tally:
    """Spans as one: all samples, first and last capture, and what `write` makes of it, made once for who shares it."""

    samples: int
    first_ms: int
    last_ms: int
    text: str

    @classmethod
    def of(cls, spans: Sequence[Span]) -> Tally:
        """At least one."""
        found = [[span.first_ms, span.last_ms, dict(sorted(span.counts.items()))] for span in spans]
        return cls(
            sum(sum(span.counts.values()) for span in spans),
            min(span.first_ms for span in spans),
            max(span.last_ms for span in spans),
            json.dumps(found, separators=(",", ":"))[1:-1],
        )

    @classmethod
    def together(cls, tallies: Sequence[Tally]) -> Tally:
        """Of all of them, at least one."""
        return cls(
            sum(each.samples for each in tallies),
            min(each.first_ms for each in tallies),
            max(each.last_ms for each in tallies),
            ",".join(each.text for each in tallies),
        )


def write(tally: Tally) -> str:
    """As a delivery keeps it."""
    return f"[{tally.text}]"


def read(text: str, first_ms: int, last_ms: int) -> list[Span]:
    """What `write` wrote. Of deliveries from before it only the captures of the whole event are known."""
    document = json.loads(text)
    if isinstance(document, dict):
        return [Span(first_ms, last_ms, document)]
    return [Span(first, last, counts) for first, last, counts in document]
