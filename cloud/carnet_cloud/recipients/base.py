"""What an adapter gets and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from carnet_cloud.lease import Lease

GROUP_MAX = 64
"""Events that are leased, sent and settled together."""


Claim = Callable[[str, Mapping[str, int]], Collection[str]]
"""Of a record's sensors, by the capture time of a value, those that show nothing newer; from now on they show these."""


class Outcome(Enum):
    """``CONFIRMED``: the recipient has it. ``WRITTEN``: it will say so of all of them in `Recipient.finish`.
    ``RETRY``: it has not, or nobody knows; the same event id comes again. ``REFUSED``: it will never take this one.
    ``CUT``: our lease ended while we wrote. ``UNSENT``: nothing of it was written.
    """

    CONFIRMED = "confirmed"
    WRITTEN = "written"
    RETRY = "retry"
    REFUSED = "refused"
    CUT = "cut"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class Event:
    """One disclosure: ``body`` is the CloudEvents 1.0 JSON (UTF-8), ``event_id`` its id, the same at every try."""

    event_id: bytes
    body: bytes

    @property
    def name(self) -> str:
        return self.event_id.hex()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an event was not confirmed: a word for machines, and a sentence for a log that holds nothing of what was
    sent or answered.
    """

    reason: str
    sentence: str


class Recipient(Protocol):
    """Sends one event after another, at most GROUP_MAX before each `finish`; called from one thread. One that knows
    why it last answered RETRY has that in an attribute ``trouble`` (a `Trouble`).
    """

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        """Hand the event over; ``lease.guard()`` before each write. ``now_s``: seconds since 1970, for signatures."""
        ...

    def finish(self) -> Outcome:
        """End a group: what became of the events that were only WRITTEN. They are one, CONFIRMED or RETRY."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ForgetfulRecipient(Recipient, Protocol):
    """A recipient that shows the newest of what it got, and has to be told when a consent has ended.

    Of one record one receiver at a time sends to it.
    """

    def remember(self, claim: Claim) -> None:
        """What says, from the first send on, what is news."""
        ...

    def forget(self, record: str, paths: Collection[str], lease: Lease) -> bool:
        """Take back what is shown of these paths under the record; whether all of it was. Sends nothing else."""
        ...
