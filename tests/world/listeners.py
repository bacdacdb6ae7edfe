"""Recipients that confirm, forget, refuse, are slow, or die of the sender's crash; all tell the ledger what they hear.

Law: the body is heard in one moment, right after the lease has said that it may be written.
"""

from __future__ import annotations

from collections.abc import Callable

from carnet_cloud.lease import Lease, LeaseOver
from carnet_cloud.recipients import Event, Outcome
from tests.world.clockwork import Clockwork
from tests.world.ledger import Ledger

PIECE_MS = 60
"""Time that a slow recipient lets pass between two writes."""


class Listener:
    """One recipient. ``temper``: kind of answer -> probability; the rest is confirmed."""

    def __init__(self, name: str, clockwork: Clockwork, ledger: Ledger) -> None:
        self._name, self._clockwork, self._ledger = name, clockwork, ledger
        self.temper: dict[str, float] = {}
        self.final: list[str] = []
        """The events that were answered for good; whoever begins a group empties it."""
        self.interrupt: Callable[[], None] | None = None
        """Done once in the middle of the next send."""

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        mood = self._mood()
        self._clockwork.note(f"recipient_{mood}")
        try:
            for _ in range(self._clockwork.random.randrange(2, 12) if mood == "slow" else 0):
                lease.guard()
                self._clockwork.run(self._clockwork.now_ms + PIECE_MS)
            lease.guard()
            if self.interrupt is not None:
                interrupt, self.interrupt = self.interrupt, None
                interrupt()
                lease.guard()
        except LeaseOver:
            self._clockwork.note("send_cut")
            return Outcome.CUT
        if mood == "deaf":
            return Outcome.RETRY
        self._ledger.heard(self._name, event.name, event.body)
        if mood == "forgetful":
            return Outcome.RETRY
        self.final.append(event.name)
        return Outcome.REFUSED if mood == "refusing" else Outcome.CONFIRMED

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None:
        return

    def _mood(self) -> str:
        dice = self._clockwork.random.random()
        for mood, probability in self.temper.items():
            dice -= probability
            if dice < 0:
                return mood
        return "content"
