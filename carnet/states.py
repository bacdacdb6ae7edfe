"""The states of a consent and what leads from one to the next, as data: the names are those of W3C DPV.

Law: only GIVEN forwards. What is not in `TRANSITIONS` does not happen, and nobody but the owner has an event that
widens.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a consent stands. An ``ing`` state already forwards nothing; its ``ed`` state says that everybody
    confirmed.
    """

    REQUESTED = "requested"
    """Offered to the owner, no answer yet."""
    REFUSED = "refused"
    GIVEN = "given"
    SUSPENDED = "suspended"
    """Paused by the owner or suspended by the operator; the owner may resume."""
    WITHDRAWING = "withdrawing"
    WITHDRAWN = "withdrawn"
    """Ended by the owner."""
    REVOKING = "revoking"
    REVOKED = "revoked"
    """Ended by the operator: automaker, fleet, court."""
    TERMINATED = "terminated"
    """Ended by the recipient."""
    INVALIDATED = "invalidated"
    """No longer valid by itself: the car was sold, an authority decided."""
    EXPIRED = "expired"


class Actor(StrEnum):
    """Who can make an event happen."""

    OWNER = "owner"
    OPERATOR = "operator"
    CLOCK = "clock"


class EventKind(StrEnum):
    """What happens to a consent."""

    GIVE = "give"
    REFUSE = "refuse"
    PAUSE = "pause"
    RESUME = "resume"
    RENEW = "renew"
    WITHDRAW = "withdraw"
    SUSPEND = "suspend"
    REVOKE = "revoke"
    TERMINATE = "terminate"
    INVALIDATE = "invalidate"
    SILENT = "silent"
    """Nothing of this consent is under way any more."""
    EXPIRE = "expire"


ACTORS: Final = MappingProxyType(
    {
        EventKind.GIVE: Actor.OWNER,
        EventKind.REFUSE: Actor.OWNER,
        EventKind.PAUSE: Actor.OWNER,
        EventKind.RESUME: Actor.OWNER,
        EventKind.RENEW: Actor.OWNER,
        EventKind.WITHDRAW: Actor.OWNER,
        EventKind.SUSPEND: Actor.OPERATOR,
        EventKind.REVOKE: Actor.OPERATOR,
        EventKind.TERMINATE: Actor.OPERATOR,
        EventKind.INVALIDATE: Actor.OPERATOR,
        EventKind.SILENT: Actor.OPERATOR,
        EventKind.EXPIRE: Actor.CLOCK,
    }
)
"""Every kind of event has one actor. GIVE is the record itself; REFUSE and EXPIRE are never written as documents."""

WIDENING: Final = frozenset({EventKind.GIVE, EventKind.RESUME, EventKind.RENEW})
"""Kinds after which more may be forwarded than before."""

_ENDINGS: Final = {
    EventKind.WITHDRAW: State.WITHDRAWING,
    EventKind.REVOKE: State.REVOKING,
    EventKind.TERMINATE: State.TERMINATED,
    EventKind.INVALIDATE: State.INVALIDATED,
    EventKind.EXPIRE: State.EXPIRED,
}

TRANSITIONS: Final = MappingProxyType(
    {
        (State.REQUESTED, EventKind.GIVE): State.GIVEN,
        (State.REQUESTED, EventKind.REFUSE): State.REFUSED,
        (State.GIVEN, EventKind.RENEW): State.GIVEN,
        (State.GIVEN, EventKind.PAUSE): State.SUSPENDED,
        (State.GIVEN, EventKind.SUSPEND): State.SUSPENDED,
        **{(State.GIVEN, kind): end for kind, end in _ENDINGS.items()},
        (State.SUSPENDED, EventKind.RESUME): State.GIVEN,
        (State.SUSPENDED, EventKind.RENEW): State.SUSPENDED,
        **{(State.SUSPENDED, kind): end for kind, end in _ENDINGS.items()},
        (State.WITHDRAWING, EventKind.SILENT): State.WITHDRAWN,
        (State.REVOKING, EventKind.SILENT): State.REVOKED,
    }
)
"""(state, what happens) -> next state. Everything else is refused."""

ALIVE: Final = frozenset({State.GIVEN, State.SUSPENDED})
"""States from which forwarding is still possible, now or after a resume."""
