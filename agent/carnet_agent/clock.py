"""The unit's wall time, as an interval that the truth lies in: from the cloud's signed answers, NTP and GNSS.

Law: never narrower than what an anchor of this boot and 500 ppm of drift allow. What is not known is said so. What ends
grants is never before the floor (`carnet_agent.floor`), and only the cloud may take back what was said last.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from carnet.times import Anchor
from carnet_agent.floor import Floor
from carnet_agent.moment import Moment

NTP_MS = 1_000
GNSS_MS = 3_000
"""A reading is up to a second old, has whole seconds, and waited for its block."""
ROUND_TRIP_MS_MAX = 60_000
SETTLE_MS = 60_000
"""The floor may lie so far behind what is known, so that it need not be made anew at every tick."""
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
    """Keeps the best anchor, and the floor under all that was said before."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self._known: _Known | None = None
        self._told: dict[Source, Anchor] = {}
        """The newest of each source that was not refused."""
        self.refused = 0
        """Anchors from before the floor, or excluded by a better source."""

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

    def settle(self, moment: Moment, yes_ms: int) -> None:
        """Bring the floor up to what is known now. ``yes_ms``: the newest consent that the owner signed; 0 without."""
        found = self._believed(moment)
        if found is None:
            return
        now = self.floor.at(moment)
        heard = self.floor.heard(found[0], moment, witnessed=self._is_witnessed(moment), yes_ms=yes_ms)
        if heard.firm_ms - now.firm_ms > SETTLE_MS or abs(heard.word_ms - now.word_ms) > SETTLE_MS:
            self.floor = heard

    def interval(self, moment: Moment) -> tuple[int, int] | None:
        """The earliest and the latest that it can be, for what ends; None if nothing of this boot tells."""
        found = self._believed(moment)
        if found is None:
            return None
        firm_ms = self.floor.at(moment).firm_ms
        return max(found[0], firm_ms), max(found[1], firm_ms)

    def wall(self, moment: Moment) -> tuple[int, int] | None:
        """(ms since 1970, how far from it the truth can be); None if not known well enough to be said.

        The floor has no part in it: this is told to the cloud, which judges by its own clock.
        """
        found = self._believed(moment)
        if found is None:
            return None
        earliest, latest = found
        middle = (earliest + latest) // 2
        around = latest - middle
        return (middle, around) if around <= UNCERTAINTY_MS_MAX else None

    def earliest_ms(self, moment: Moment) -> int:
        """It is not before this: the interval's beginning, or what was last said."""
        found = self.interval(moment)
        return self.floor.at(moment).word_ms if found is None else found[0]

    def _believed(self, moment: Moment) -> tuple[int, int] | None:
        if self._known is None or self._known.anchor.boot_id != moment.boot_id:
            return None
        return self._known.anchor.at(moment.boot_ms)

    def _is_witnessed(self, moment: Moment) -> bool:
        """The cloud and another source say the same in this boot."""
        told = {who: each.at(moment.boot_ms) for who, each in self._told.items() if each.boot_id == moment.boot_id}
        cloud = told.pop(Source.CLOUD, None)
        return cloud is not None and any(one[0] <= cloud[1] and cloud[0] <= one[1] for one in told.values())

    def _learn(self, source: Source, moment: Moment, earliest_ms: int, latest_ms: int) -> None:
        floor = self.floor.at(moment)
        if latest_ms < (floor.firm_ms if source is Source.CLOUD else floor.word_ms):
            self.refused += 1
            if source is not Source.CLOUD:
                return
            # the cloud may place captures where it likes, since it judges them; what ends grants stays at the floor
        new = _Known(source, Anchor(moment.boot_id, moment.boot_ms, earliest_ms, latest_ms))
        if earliest_ms <= 0 or self._excludes(new, moment):
            self.refused += 1
            return
        self._told[source] = new.anchor
        before = self._believed(moment)
        if before is None or _width(new) < before[1] - before[0] or _apart(before, new):
            self._known = new

    def _excludes(self, new: _Known, moment: Moment) -> bool:
        """A better source has said something else."""
        before = self._believed(moment)
        return (
            before is not None and self._known is not None and new.source < self._known.source and _apart(before, new)
        )


def _apart(before: tuple[int, int], new: _Known) -> bool:
    return before[1] < new.anchor.earliest_ms or new.anchor.latest_ms < before[0]


def _width(new: _Known) -> int:
    return new.anchor.latest_ms - new.anchor.earliest_ms
