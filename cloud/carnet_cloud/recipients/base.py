"""What an adapter gets and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from carnet_cloud.lease import Lease


class Outcome(Enum):
    """``CONFIRMED``: the recipient has it. ``RETRY``: it has not, or nobody knows; the same event id comes again.
    ``REFUSED``: it will never take this one. ``CUT``: our lease ended while we wrote.
    """

    CONFIRMED = "confirmed"
    RETRY = "retry"
    REFUSED = "refused"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Event:
    """One disclosure: ``body`` is the CloudEvents 1.0 JSON (UTF-8), ``event_id`` its id, the same at every try."""

    event_id: bytes
    body: bytes

    @property
    def name(self) -> str:
        return self.event_id.hex()


class Recipient(Protocol):
    """Sends one event at a time; called from one thread."""

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        """Hand the event over; ``lease.guard()`` before each write. ``now_s``: seconds since 1970, for signatures."""
        ...

    def close(self) -> None: ...
