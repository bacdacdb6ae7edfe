"""The unit's wall time, as an interval that the truth lies in: from the cloud's signed answers, NTP and GNSS.

Law: never narrower than what an anchor of this boot and 500 ppm of drift allow, and never before the persisted floor.
What is not known is said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from carnet.times import Anchor
from carnet_agent.moment import Moment

NTP_MS = 1_000
GNSS_MS = 3_000
"""A reading is up to a second old, has whole seconds, and waited for its block."""
ROUND_TRIP_MS_MAX = 60_000
UNCERTAINTY_MS_MAX = 0xFFFFFFFE
"""Largest that fits a box's prelude; a wider interval is no knowledge."""


class Source(IntEnum):
    """Who told the time; the higher one is believed where two exclude each other."""

    NTP = 0
    GNSS = 1
    CLOUD = 2


@dataclass(frozen=True, slots=True)
class _Known:
    source: Source
    anchor: Anchor


class Clock:
    """Keeps the best anchor. ``floor_ms``: it was at least so late when the unit last knew the time."""

    def __init__(self, floor_ms: int) -> None:
        self._floor_ms = floor_ms
        self._known: _Known | None = None
        self.refused = 0
        """Anchors before the floor, or excluded by a better source."""

    def learn_answer(self, asked_boot_ms: int, server_ms: int, moment: Moment) -> None:
        """An acknowledgement echoed our nonce: the server read its clock between our question and now."""
        round_trip = moment.boot_ms - asked_boot_ms
        if 0 <= round_trip <= ROUND_TRIP_MS_MAX:
            self._learn(Source.CLOUD, moment, server_ms, server_ms + round_trip)

    def learn_system(self, moment: Moment) -> None:
        """CLOCK_REALTIME, if the kernel says that it is synchronised."""
        if moment.synchronised:
            self._learn(Source.NTP, moment, moment.real_ms - NTP_MS, moment.real_ms + NTP_MS)

    def learn_gnss(self, time_ms: int, moment: Moment) -> None:
        """The car's satellite receiver, read from the bus."""
        self._learn(Source.GNSS, moment, time_ms - GNSS_MS, time_ms + GNSS_MS)

    def interval(self, moment: Moment) -> tuple[int, int] | None:
        """The earliest and the latest that it can be; None if nothing of this boot tells."""
        if self._known is None or self._known.anchor.boot_id != moment.boot_id:
            return None
        earliest, latest = self._known.anchor.at(moment.boot_ms)
        return max(earliest, self._floor_ms), max(latest, self._floor_ms)

    def wall(self, moment: Moment) -> tuple[int, int] | None:
        """(ms since 1970, how far from it the truth can be); None if not known well enough to be said."""
        found = self.interval(moment)
        if found is None:
            return None
        earliest, latest = found
        middle = (earliest + latest) // 2
        around = latest - middle
        return (middle, around) if around <= UNCERTAINTY_MS_MAX else None

    def earliest_ms(self, moment: Moment) -> int:
        """It is surely not before this: the interval's beginning, or the floor."""
        found = self.interval(moment)
        return self._floor_ms if found is None else found[0]

    def _learn(self, source: Source, moment: Moment, earliest_ms: int, latest_ms: int) -> None:
        if latest_ms < self._floor_ms or earliest_ms <= 0:
            self.refused += 1
            return
        new = _Known(source, Anchor(moment.boot_id, moment.boot_ms, earliest_ms, latest_ms))
        if self._known is None or self._known.anchor.boot_id != moment.boot_id:
            self._known = new
            return
        before = self._known.anchor.at(moment.boot_ms)
        if before[1] < earliest_ms or latest_ms < before[0]:
            if source < self._known.source:
                self.refused += 1
            else:
                self._known = new
        elif latest_ms - earliest_ms < before[1] - before[0]:
            self._known = new
