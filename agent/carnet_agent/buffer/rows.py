"""What goes into the buffer and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from carnet.envelopetype import EnvelopeType


class Priority(IntEnum):
    """What is sent first and kept longest when the disk is full: rows to KEEP are never evicted."""

    KEEP = 0
    EVENT = 1
    LIVE = 2
    BACKGROUND = 3


@dataclass(frozen=True, slots=True)
class NewBox:
    """A sealed box on its way into the buffer. ``handle``: 8 random bytes that stand for its set of records."""

    kid: bytes
    box: bytes
    handle: bytes
    samples: int
    schema: bytes


@dataclass(frozen=True, slots=True)
class NewEnvelope:
    """Boxes that become one row. ``cut``: the 8 random bytes for which they were sealed."""

    type: EnvelopeType
    priority: Priority
    cut: bytes
    boxes: tuple[NewBox, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A sendable envelope as stored; ``number`` is the buffer's own name for it."""

    number: int
    stream: bytes
    seq: int
    type: int
    priority: int
    samples: int
    envelope: bytes


Dropped = tuple[int, bytes, int, int]
"""Of a row that goes: number, stream, seq, samples."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Numbers of ``stream`` that will never be sent, and how many samples they held (0 if unknown)."""

    stream: bytes
    first: int
    last: int
    reason: str
    samples: int


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What was destroyed of one handle and is not reported yet."""

    handle: bytes
    generation: int
    reason: int
    boxes: int
    rows: int
    samples: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A row of a corrupt buffer whose signature still holds; ``boxes``: index, handle, samples, schema.

    ``offered``: the buffer knew that the row may have been sent; of others nobody knows what an earlier life sent.
    """

    envelope: bytes
    priority: int
    samples: int
    boxes: tuple[tuple[int, bytes, int, bytes], ...]
    offered: bool
