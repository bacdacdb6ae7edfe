"""What the core asks its shells to do. Nothing else leaves the core; the order of a list is the order to do it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Identifiers = Mapping[str, tuple[tuple[int, bool], ...]]
"""Bus name -> (identifier, has 29 bits)."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Send an envelope to the device's up topic, QoS 1. A broker's PUBACK means nothing to the core."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class SetIdentifiers:
    """From now on read these frames and no others."""

    identifiers: Identifiers


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the log, without a reading, a VIN or a key in it. ``level`` as in `logging`: info or warning.

    ``event`` and ``reason`` are words for machines.
    """

    level: str
    text: str
    event: str = "note"
    reason: str = ""


Effect = Publish | SetIdentifiers | Note
