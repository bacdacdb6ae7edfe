"""What has happened in a demonstration so far, as far as its teller can see it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from carnet.narrowing import Mode
from carnet_simulator.demo.check import Permission
from carnet_simulator.demo.frame import Row
from carnet_simulator.demo.received import Received
from carnet_simulator.demo.scene import Party
from carnet_simulator.demo.stage import Stage
from carnet_simulator.demo.words import counted


@dataclass(slots=True)
class Withdrawal:
    """``returned_ms``: how long the command took; ``done_ms``: since 1970; ``events_before``: in the file by then."""

    record: str
    recipient: str
    returned_ms: int
    done_ms: int
    events_before: int


@dataclass(slots=True)
class Told:
    """What has happened so far. Times in ms since 1970 unless they are called seconds."""

    stage: Stage
    mode: Mode
    began_ms: int
    rows: dict[str, Row]
    records: dict[str, str] = field(default_factory=dict)
    refused: dict[str, dict[str, str]] = field(default_factory=dict)
    """Recipient -> path that it asked for and does not get under its consent -> why; before any withdrawal."""
    granted_ms: int = 0
    first_reading_s: float | None = None
    withdrawal: Withdrawal | None = None

    def look(self) -> None:
        """Read what the recipients have got."""
        for row in self.rows.values():
            if row.received.look(now_ms()) and self.first_reading_s is None:
                self.first_reading_s = (now_ms() - self.began_ms) / 1000

    def events_after(self) -> int:
        """Events that came after the withdrawal's command had returned."""
        gone = self.withdrawal
        return len(self.received(gone.recipient).events) - gone.events_before if gone else 0

    def received(self, name: str) -> Received:
        return self.rows[name].received


def now_ms() -> int:
    """The machine's clock."""
    return time.time_ns() // 1_000_000


def note(told: Told) -> str:
    """The line over the moving picture."""
    gone = told.withdrawal
    if gone is None:
        return "what leaves, for whom"
    after = told.events_after()
    return f"{gone.recipient} silent for {(now_ms() - gone.done_ms) / 1000:.1f} s: {counted(after, 'event')} since"


def permissions(told: Told, party: Party) -> dict[str, Permission]:
    """What this recipient may have, by record: as the owner's documents say, ended by the withdrawal."""
    record, gone = told.records[party.name], told.withdrawal
    until_ms = gone.done_ms if gone is not None and gone.record == record else now_ms() + 86_400_000
    return {record: Permission(record, tuple(party.items()), told.granted_ms, until_ms)}
