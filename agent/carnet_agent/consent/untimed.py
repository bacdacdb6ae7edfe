"""How long grants last while the unit does not know the time: so many days of powered-on time, counted on disk.

Law 1: time that cannot be told does not make a grant longer. What is counted is charged in advance, so that starting
again and again wins nothing.
"""

from __future__ import annotations

from typing import Final

from carnet_agent.consent.store import GrantStore
from carnet_agent.moment import Moment

CHARGE_MS: Final = 600_000


class Untimed:
    """Counts in the grant store; ``ms_max`` 0: without the time nothing is granted."""

    def __init__(self, store: GrantStore, ms_max: int) -> None:
        self._store = store
        self._ms_max = ms_max
        self._seen_ms = 0
        self._paid_ms = 0

    @property
    def is_over(self) -> bool:
        """Whether grants have ended for want of time."""
        return self._store.untimed_ms > self._ms_max

    def begin(self, moment: Moment, *, known: bool) -> None:
        """The agent starts."""
        self._seen_ms, self._paid_ms = moment.boot_ms, 0
        self.passed(moment, known=known)

    def passed(self, moment: Moment, *, known: bool) -> bool:
        """Time has passed since the last call; True if it was charged. ``known``: the unit knows the time."""
        passed_ms, self._seen_ms = moment.boot_ms - self._seen_ms, moment.boot_ms
        if known or not self._store.grants:
            self._paid_ms = 0
            return False
        self._paid_ms -= passed_ms
        if self._paid_ms > 0 or self.is_over:
            return False
        # a first charge is for what comes, a later one also for what came in one long step
        self._store.set_untimed(self._store.untimed_ms + CHARGE_MS - self._paid_ms)
        self._paid_ms = CHARGE_MS
        return True
