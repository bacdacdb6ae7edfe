"""Recipients that confirm, forget, refuse, are slow, or die of the sender's crash; all tell the ledger what they hear.

Law: the body is heard in one moment, right after the lease has said that it may be written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from carnet_cloud.lease import Lease, LeaseOver
from carnet_cloud.recipients import Event, Outcome
from tests.world.clockwork import Clockwork
from tests.world.ledger import Ledger

PIECE_MS = 60
"""Time that a slow recipient lets pass between two writes."""
HANGS_PIECES = 40
"""A recipient that hangs says nothing for so many of them."""


class Breaks(Exception):
    """What nobody thought of."""


class Freeze(Protocol):
    """Stop the sender's process for so long; ``dies``: for good."""

    def __call__(self, length_ms: int, *, dies: bool) -> None: ...


class Listener:
    """One recipient. ``temper``: kind of answer -> probability; the rest is confirmed."""

    def __init__(self, name: str, clockwork: Clockwork, ledger: Ledger) -> None:
        self.name, self.clockwork, self.ledger = name, clockwork, ledger
        self.temper: dict[str, float] = {}
        self.freezes: list[tuple[int, bool]] = []
        """(how long, whether it dies): what stops whoever sends next, in the middle of it."""
        self.interrupt: Callable[[], None] | None = None
        """Done once in the middle of the next send."""

    def ear(self, freeze: Freeze) -> Ear:
        """What one sender talks to."""
        return Ear(self, freeze)

    def mood(self) -> str:
        dice = self.clockwork.random.random()
        for mood, probability in self.temper.items():
            dice -= probability
            if dice < 0:
                return mood
        return "content"


class Ear:
    """A recipient as one sender sees it."""

    def __init__(self, to: Listener, freeze: Freeze) -> None:
        self._to, self._freeze = to, freeze
        self.final: list[str] = []
        """The events that were answered for good; whoever begins a group empties it."""
        self._written: list[str] = []
        self._is_broken = False

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        mood = self._to.mood()
        self._to.clockwork.note(f"recipient_{mood}")
        if mood == "hanging":
            return self._hang(lease)
        try:
            for _ in range(self._to.clockwork.random.randrange(2, 12) if mood == "slow" else 0):
                lease.guard()
                self._to.clockwork.run(self._to.clockwork.now_ms + PIECE_MS)
            lease.guard()
            if self._to.interrupt is not None:
                interrupt, self._to.interrupt = self._to.interrupt, None
                interrupt()
                lease.guard()
            if self._to.freezes:
                length_ms, dies = self._to.freezes.pop()
                self._freeze(length_ms, dies=dies)
                lease.guard()
        except LeaseOver:
            self._to.clockwork.note("send_cut")
            return Outcome.CUT
        if mood == "breaking" and self._to.clockwork.chance(0.5):
            raise Breaks
        if mood == "writing" and self._to.clockwork.chance(0.3):
            # the line broke behind our back: nobody has it, and nobody will say that he has
            self._is_broken = True
            return Outcome.WRITTEN
        if mood == "deaf":
            return Outcome.RETRY
        self._to.ledger.heard(self._to.name, event.name, event.body)
        if mood == "breaking":
            raise Breaks
        if mood == "forgetful":
            return Outcome.RETRY
        if mood == "writing":
            self._written.append(event.name)
            return Outcome.WRITTEN
        self.final.append(event.name)
        return Outcome.REFUSED if mood == "refusing" else Outcome.CONFIRMED

    def _hang(self, lease: Lease) -> Outcome:
        """It takes the connection and says nothing; whoever cuts the lease resets it."""
        for _ in range(HANGS_PIECES):
            self._to.clockwork.run(self._to.clockwork.now_ms + PIECE_MS)
            if lease.over:
                self._to.clockwork.note("hang_cut")
                return Outcome.CUT
        return Outcome.RETRY

    def finish(self) -> Outcome:
        """One word for all that was only written; now and then it does not come."""
        written, self._written = self._written, []
        is_broken, self._is_broken = self._is_broken, False
        if is_broken or (self._to.temper and self._to.clockwork.chance(0.3)):
            self._to.clockwork.note("recipient_unsaid")
            return Outcome.RETRY
        self.final += written
        return Outcome.CONFIRMED

    def close(self) -> None:
        return
