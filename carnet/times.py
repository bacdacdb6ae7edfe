"""Capture times: from milliseconds since a unit's start to an interval of wall time that the truth lies in.

Law: an interval is never narrower than what an anchor, 500 ppm of drift and the resolution of both clocks allow. What
cannot be resolved is said so; it is never guessed. All times are integers in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carnet.box import WALL_UNKNOWN, Prelude
from carnet.errors import LocalProtocolError

RESOLUTION_MS: Final = 1
DRIFT_MS_PER_MS: Final = 2000
"""One millisecond of drift in so many: 500 ppm, ten times a cheap crystal."""
UNSURE_MS_MAX: Final = 2000
"""The cloud judges by what an envelope claims of its time, unless that is wider than this: then something narrower may
be known, or come; a narrower one that lies across an end is outside.
"""


class Unresolved(StrEnum):
    """Why a capture time has no interval."""

    NO_ANCHOR = "no_anchor"
    AFTER_RECEIPT = "after_receipt"


@dataclass(frozen=True, slots=True)
class Anchor:
    """At ``boot_ms`` of this boot it was between ``earliest_ms`` and ``latest_ms`` of wall time."""

    boot_id: bytes
    boot_ms: int
    earliest_ms: int
    latest_ms: int

    def __post_init__(self) -> None:
        if self.earliest_ms > self.latest_ms:
            raise LocalProtocolError("anchor_order", "an anchor ends before it begins")

    def at(self, boot_ms: int) -> tuple[int, int]:
        """The earliest and the latest wall time of another moment of the same boot."""
        passed = boot_ms - self.boot_ms
        widening = RESOLUTION_MS - (-abs(passed) // DRIFT_MS_PER_MS)
        return self.earliest_ms + passed - widening, self.latest_ms + passed + widening

    def width_at(self, boot_ms: int) -> int:
        """How far apart these two are."""
        earliest, latest = self.at(boot_ms)
        return latest - earliest


def claimed_anchor(prelude: Prelude) -> Anchor | None:
    """The anchor in a prelude: what the unit believed at the cut; None if it did not know the time."""
    if prelude.wall_ms == WALL_UNKNOWN:
        return None
    wall_ms, around_ms = prelude.wall_ms, prelude.wall_uncertainty_ms
    return Anchor(prelude.boot_id, prelude.boot_ms, wall_ms - around_ms, wall_ms + around_ms)


def interval(boot_id: bytes, boot_ms: int, anchors: Iterable[Anchor], receipt_ms: int) -> tuple[int, int] | Unresolved:
    """(earliest, latest) wall time of a capture at ``boot_ms`` of ``boot_id``, received by the cloud at ``receipt_ms``.

    Anchors of other boots do not count; of the rest the one that gives the narrowest interval does.
    """
    intervals = [anchor.at(boot_ms) for anchor in anchors if anchor.boot_id == boot_id]
    if not intervals:
        return Unresolved.NO_ANCHOR
    earliest, latest = min(intervals, key=lambda each: (each[1] - each[0], each))
    if earliest > receipt_ms:
        return Unresolved.AFTER_RECEIPT
    return earliest, min(latest, receipt_ms)


def intervals(
    boot_id: bytes, boot_ms: NDArray[np.int64], anchors: Iterable[Anchor], receipt_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | Unresolved:
    """`interval` for a column of capture times: arrays of the earliest and of the latest;
    unresolved if any of them is.
    """
    own = [anchor for anchor in anchors if anchor.boot_id == boot_id]
    if not own:
        return Unresolved.NO_ANCHOR
    bounds = [_column_at(anchor, boot_ms) for anchor in own]
    earliest, latest = bounds[0]
    for other_earliest, other_latest in bounds[1:]:
        width, other_width = latest - earliest, other_latest - other_earliest
        better = (other_width < width) | ((other_width == width) & (other_earliest < earliest))
        earliest, latest = np.where(better, other_earliest, earliest), np.where(better, other_latest, latest)
    if np.any(earliest > receipt_ms):
        return Unresolved.AFTER_RECEIPT
    return earliest, np.minimum(latest, receipt_ms)


def _column_at(anchor: Anchor, boot_ms: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    passed = boot_ms - anchor.boot_ms
    widening = RESOLUTION_MS - (-np.abs(passed) // DRIFT_MS_PER_MS)
    return anchor.earliest_ms + passed - widening, anchor.latest_ms + passed + widening
