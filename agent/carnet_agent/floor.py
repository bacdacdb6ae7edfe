"""The time that it surely is not before: what no power cut, no thief and no cloud turns back.

Law: without a second witness all words of a boot together raise it by at most a day, and nothing lowers it. Over it
lies what was last said, which counts too until the cloud itself takes it back. Integers in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carnet.times import DRIFT_MS_PER_MS
from carnet_agent.moment import Moment

JUMP_MS: Final = 86_400_000
"""What one boot may believe beyond the powered-on time: a car that is used every day follows at once."""


@dataclass(frozen=True, slots=True)
class Floor:
    """As it stood at ``boot_ms`` of ``boot_id``; 0: nothing is known."""

    firm_ms: int = 0
    word_ms: int = 0
    """The earliest that was last said; never before ``firm_ms``."""
    boot_id: bytes = b""
    boot_ms: int = 0
    jump_ms: int = JUMP_MS
    """How much of this boot's jump is left."""

    def at(self, moment: Moment) -> Floor:
        """The same, later: powered-on time has passed for certain, less what the clock may go too fast."""
        same = moment.boot_id == self.boot_id
        # of another boot all that has passed in this one came after
        passed = max(0, moment.boot_ms - (self.boot_ms if same else 0))
        passed -= -(-passed // DRIFT_MS_PER_MS)
        return Floor(
            self.firm_ms and self.firm_ms + passed,
            self.word_ms and self.word_ms + passed,
            moment.boot_id,
            moment.boot_ms,
            self.jump_ms if same else JUMP_MS,
        )

    def heard(self, earliest_ms: int, moment: Moment, *, witnessed: bool, yes_ms: int) -> Floor:
        """It is said to be ``earliest_ms`` or later. ``witnessed``: by the cloud and by another; ``yes_ms``: the newest
        consent that the owner signed, which the cloud cannot date.
        """
        now = self.at(moment)
        base = max(now.firm_ms, min(yes_ms, earliest_ms))
        rise = max(0, earliest_ms - base) if base or witnessed else 0
        spent = 0 if witnessed else min(rise, now.jump_ms)
        firm = base + (rise if witnessed else spent)
        return Floor(firm, max(firm, earliest_ms), moment.boot_id, moment.boot_ms, now.jump_ms - spent)
