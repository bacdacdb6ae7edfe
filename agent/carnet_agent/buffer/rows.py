"""What goes into the buffer and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """What is kept longest when the disk is full: consent and health rows are never evicted."""

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
class Row:
    """A sendable envelope as stored."""

    seq: int
    type: int
    priority: int
    samples: int
    envelope: bytes


@dataclass(frozen=True, slots=True)
class GapRange:
    """Numbers that will never be sent, and how many samples they held (0 if unknown)."""

    first: int
    last: int
    reason: str
    samples: int
