"""Shell: says that a recipient takes no events, and why, once per recipient and reason; and once that it does again.

Law: a line names the recipient of the configuration and what its adapter found, never an event. However a recipient
falters, a reason is said at most once a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from carnet.logs import told
from carnet_cloud.recipients.base import Outcome, Recipient, Trouble

WELL_MS: Final = 60_000
"""So long nothing may fail before a confirmed event is a recovery."""
CUTS_MAX: Final = 1
"""A withdrawal in the middle of a send cuts it, too; the second cut in a row is the recipient's slowness."""
UNANSWERED: Final = Trouble("unanswered", "it did not confirm an event; that one comes again")
REFUSED: Final = Trouble("refused", "it refuses events for good: its owner finds out why")
CUT: Final = Trouble("cut", "sends are cut because it takes too long; they come again")

log = logging.getLogger("carnet.cloud")


@dataclass(slots=True)
class _State:
    """Of one recipient: what was said, when it last failed, and how many groups in a row were cut."""

    said: set[str] = field(default_factory=set)
    failed_ms: float = 0.0
    cuts: int = 0


class Troubles:
    """``recipients``: the adapters by id, which may know more than an outcome says."""

    def __init__(self, recipients: Mapping[str, Recipient], monotonic_ms: Callable[[], float]) -> None:
        self._recipients = recipients
        self._monotonic_ms = monotonic_ms
        self._states = {name: _State() for name in recipients}

    def seen(self, recipient: str, outcomes: Collection[Outcome]) -> None:
        """What became of a group of events."""
        state, now_ms = self._states[recipient], self._monotonic_ms()
        confirmed = Outcome.CONFIRMED in outcomes
        state.cuts = state.cuts + 1 if Outcome.CUT in outcomes and not confirmed else 0
        for trouble in self._found(recipient, outcomes, state):
            state.failed_ms = now_ms
            if trouble.reason not in state.said:
                state.said.add(trouble.reason)
                extra = told("recipient_trouble", trouble.reason)
                log.warning("recipient %s: %s (said once)", recipient, trouble.sentence, extra=extra)
        if state.said and confirmed and now_ms - state.failed_ms >= WELL_MS:
            state.said.clear()
            log.info("recipient %s: it takes events again", recipient, extra=told("recipient_recovered"))

    def _found(self, recipient: str, outcomes: Collection[Outcome], state: _State) -> list[Trouble]:
        found = []
        if Outcome.RETRY in outcomes:
            found.append(getattr(self._recipients[recipient], "trouble", None) or UNANSWERED)
        if Outcome.REFUSED in outcomes:
            found.append(REFUSED)
        if state.cuts > CUTS_MAX:
            found.append(CUT)
        return found
