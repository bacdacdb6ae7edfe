"""Events of a record: how a consent goes on after it was given, as a chain of entries. The form is in
``docs/consent.md``.

Law: an event that widens carries the owner's signature and hangs on everything that happened before; an event without a
signature only narrows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from carnet import canonical, fields, hashes, ids, jws
from carnet.errors import ConsentError, LocalProtocolError
from carnet.offers import Offer
from carnet.records import Record
from carnet.refusals import DAY_MS, identity, integer, refused_as
from carnet.states import ACTORS, ALIVE, TRANSITIONS, WIDENING, Actor, EventKind, State

EVENTS_MAX: Final = 256
WIDENING_SEQ_MAX: Final = 240
"""The entries above are kept free, so that a record can always be ended."""
OPERATOR_EVENT_BYTES_MAX: Final = 1024
OWNER_ASKED: Final = "owner_asked"
"""The operator's reason for what the owner has done and cannot be hung on the chain as it stands."""
_OF_OWNER: Final = MappingProxyType({EventKind.REVOKE: EventKind.WITHDRAW, EventKind.SUSPEND: EventKind.PAUSE})

_UNWRITTEN: Final = frozenset({EventKind.GIVE, EventKind.REFUSE, EventKind.EXPIRE})
_REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """One parsed event; ``prev`` is hexadecimal, ``expires_ms`` of a renewal only, ``reason`` of the operator only."""

    record: str
    seq: int
    kind: EventKind
    time_ms: int
    prev: str
    expires_ms: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Course:
    """How far a record has come: the state after its last event, and what the events made of its times."""

    state: State
    narrowed_by: EventKind | None
    """The event to which it is due that nothing may be forwarded; None while it is GIVEN."""
    covers_from_ms: int
    expires_ms: int
    last_ms: int
    """Time of the last entry, by the clock of whoever made it."""
    chain: tuple[str, ...]
    """Hash of the record and of every event."""


def entry_hash(entry: str) -> str:
    """The hash by which the next event names this entry: a record's token, or an event as it is stored."""
    return hashes.digest(hashes.CONSENT, entry.encode()).hex()


def write_event(event: RecordEvent, secret: bytes | None = None) -> str:
    """The entry of an event: a token of the owner's ``secret`` (libsodium's 64 bytes), or the operator's canonical
    JSON.

    LocalProtocolError ``event_actor`` if somebody would write an event that is not theirs.
    """
    actor = Actor.OPERATOR if secret is None else Actor.OWNER
    if event.kind in _UNWRITTEN or ACTORS[event.kind] is not actor:
        raise LocalProtocolError("event_actor", f"{event.kind} is not an event that the {actor} writes")
    document: dict[str, object] = {
        "v": 1,
        "type": "event",
        "record": event.record,
        "seq": event.seq,
        "event": event.kind.value,
        "time_ms": event.time_ms,
        "prev": event.prev,
    }
    if event.expires_ms is not None:
        document["expires_ms"] = event.expires_ms
    if secret is not None:
        return jws.sign(jws.EVENT, document, secret)
    return canonical.encode(document | {"by": "operator", "reason": event.reason}).decode()


def parse_event(entry: str, keys: Iterable[bytes]) -> RecordEvent:
    """The event in an entry; `carnet.jws.verify`'s and canonical JSON's reasons, ConsentError ``event_malformed`` or
    ``event_author``.
    """
    if entry.startswith("{"):
        document = canonical.parse(entry.encode(errors="surrogatepass"), OPERATOR_EVENT_BYTES_MAX)
        return _read(document, Actor.OPERATOR)
    return _read(jws.verify(entry, jws.EVENT, keys), Actor.OWNER)


def _read(document: object, actor: Actor) -> RecordEvent:
    names = ["v", "type", "record", "seq", "event", "time_ms", "prev"]
    with refused_as("event_malformed"):
        kind = EventKind(fields.choice(document.get("event") if isinstance(document, dict) else None, *EventKind))
        if kind in _UNWRITTEN or ACTORS[kind] is not actor:
            raise ConsentError("event_author", f"{kind} is not an event that the {actor} writes")
        own = ["by", "reason"] if actor is Actor.OPERATOR else ["expires_ms"] if kind is EventKind.RENEW else []
        version, typ, record, seq, _, time_ms, prev, *rest = fields.members(document, *names, *own)
        integer(version, 1, 1)
        fields.choice(typ, "event")
        event = RecordEvent(
            record=identity(record, ids.RECORD),
            seq=integer(seq, 1),
            kind=kind,
            time_ms=integer(time_ms, 0),
            prev=fields.hex_bytes(prev, 32).hex(),
        )
        if actor is Actor.OPERATOR:
            fields.choice(rest[0], "operator")
            return replace(event, reason=fields.text(rest[1], _REASON))
        return replace(event, expires_ms=integer(rest[0], 0)) if rest else event


def begin(record: Record, token: str) -> Course:
    """A record that has just been given."""
    return Course(
        state=TRANSITIONS[State.REQUESTED, EventKind.GIVE],
        narrowed_by=None,
        covers_from_ms=record.not_before_ms,
        expires_ms=record.expires_ms,
        last_ms=record.given_ms,
        chain=(entry_hash(token),),
    )


def follow(course: Course, entry: str, record: Record, offer: Offer, keys: Iterable[bytes]) -> Course:
    """The course after one more entry; the reasons of `parse_event`, or ConsentError ``event_…`` if it does not belong
    here.
    """
    event = parse_event(entry, keys)
    if event.record != record.id:
        raise ConsentError("event_record", "an event is of another record")
    if event.seq != len(course.chain):
        raise ConsentError("event_seq", "an event is not the next one of its record")
    if event.prev != course.chain[-1]:
        raise ConsentError("event_chain", "an event was made after another history of its record")
    state = TRANSITIONS.get((course.state, event.kind))
    if state is None:
        raise ConsentError("event_state", f"{event.kind} cannot happen to a consent that is {course.state}")
    if event.kind in WIDENING:
        course = _widen(course, event, offer)
    return replace(
        course,
        state=state,
        narrowed_by=_narrowed_by(course, _silencer(event), state),
        last_ms=event.time_ms,
        chain=(*course.chain, entry_hash(entry)),
    )


def follow_all(course: Course, entries: Sequence[str], record: Record, offer: Offer, keys: Sequence[bytes]) -> Course:
    """The course after all ``entries``; as `follow`, and ConsentError ``event_excess`` for too many."""
    if len(entries) > EVENTS_MAX:
        raise ConsentError("event_excess", f"a record has more than {EVENTS_MAX} events")
    for entry in entries:
        course = follow(course, entry, record, offer, keys)
    return course


def _widen(course: Course, event: RecordEvent, offer: Offer) -> Course:
    """What a resume or renewal does to the times of its record."""
    if event.seq > WIDENING_SEQ_MAX:
        raise ConsentError(
            "event_excess", f"after {WIDENING_SEQ_MAX} events a record can only be narrowed; give a new one"
        )
    if event.time_ms < course.last_ms:
        raise ConsentError("event_backwards", "an event that widens is dated before the entry before it")
    if event.time_ms >= course.expires_ms:
        raise ConsentError("event_late", "an expired record is neither resumed nor renewed; give a new one")
    if event.expires_ms is None:
        # what was captured during the pause, or waited since before it, stays uncovered
        return replace(course, covers_from_ms=max(course.covers_from_ms, event.time_ms))
    _require_longer(course, event.time_ms, event.expires_ms, offer.valid_days)
    return replace(course, expires_ms=event.expires_ms)


def _require_longer(course: Course, now_ms: int, expires_ms: int, days_max: int) -> None:
    """A renewal prolongs its record, and no further than the offer allows; ConsentError ``event_validity``."""
    if expires_ms > now_ms + days_max * DAY_MS:
        words = f"a renewal ends later than the offer allows: renew it for at most {days_max} days from now"
        raise ConsentError("event_validity", words)
    if expires_ms <= course.expires_ms:
        days_min = (course.expires_ms - now_ms) // DAY_MS + 1
        can = f"renew it for {days_min} to {days_max} days from now"
        may = can if days_min <= days_max else "it lasts as long as the offer allows"
        raise ConsentError("event_validity", f"a renewal ends no later than the consent does already: {may}")


def _silencer(event: RecordEvent) -> EventKind:
    """What the owner did, if the operator wrote it for him: the tool was behind, or a restored store had lost it."""
    return _OF_OWNER.get(event.kind, event.kind) if event.reason == OWNER_ASKED else event.kind


def _narrowed_by(course: Course, kind: EventKind, state: State) -> EventKind | None:
    if state is State.GIVEN:
        return None
    confirms = course.state not in ALIVE or kind in WIDENING
    return course.narrowed_by if confirms else kind
