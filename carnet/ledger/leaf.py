"""Leaves of the log: what the cloud says happened, as a salted document. The members are in ``docs/ledger.md``.

Law: a leaf shows in the log as one hash, and without its salt the hash tells a stranger nothing, not even whether two
leaves are about the same consent. No leaf names a vehicle or holds a reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from carnet import canonical, fields, ids
from carnet.errors import FormatError, LocalProtocolError
from carnet.ledger.account import DAY, END, Account, parse_account
from carnet.ledger.merkle import leaf_hash
from carnet.refusals import identity, integer, named_members
from carnet.states import TRANSITIONS, EventKind, State

SALT_BYTES: Final = 16
LOG, CONSENT = "log", "consent"
KINDS: Final = (LOG, CONSENT, DAY, END)

ORIGIN_CHARACTERS_MAX: Final = 128
_ORIGIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?", re.ASCII)
_REASON: Final = "leaf_malformed"


@dataclass(frozen=True, slots=True)
class LogLeaf:
    """The first leaf of every log, at index 0: whose log it is. So index 0 never names a consent."""

    origin: str
    tenant: str
    time_ms: int

    def document(self) -> dict[str, object]:
        """The leaf as a document of canonical JSON."""
        return {"v": 1, "kind": LOG, "origin": self.origin, "tenant": self.tenant, "time_ms": self.time_ms}


@dataclass(frozen=True, slots=True)
class ConsentLeaf:
    """An entry of a record: the record itself (``seq`` 0, give) or an event, and what the consent is after it.

    ``entry`` is `carnet.recordevents.entry_hash` of it; ``generation`` that of the first grant set that has it.
    """

    record: str
    recipient: str
    seq: int
    event: EventKind
    entry: str
    state: State
    generation: int
    time_ms: int

    def document(self) -> dict[str, object]:
        """The leaf as a document of canonical JSON."""
        return {
            "v": 1, "kind": CONSENT, "record": self.record, "recipient": self.recipient, "seq": self.seq,
            "event": self.event.value, "entry": self.entry, "state": self.state.value,
            "generation": self.generation, "time_ms": self.time_ms,
        }  # fmt: skip


Leaf = LogLeaf | ConsentLeaf | Account


def salted_hash(leaf: Leaf, salt: bytes) -> bytes:
    """The leaf's hash in the tree. ``salt`` is 16 random bytes of its own, handed in and never used again.

    LocalProtocolError ``leaf_salt``, or ``leaf_malformed`` for a leaf that `parse_leaf` would refuse.
    """
    if len(salt) != SALT_BYTES:
        raise LocalProtocolError("leaf_salt", f"the salt of a leaf is {SALT_BYTES} random bytes")
    document = leaf.document()
    try:
        parse_leaf(document)
    except FormatError as error:
        raise LocalProtocolError(_REASON, str(error)) from None
    return leaf_hash(salt + canonical.encode(document))


def parse_leaf(value: object) -> Leaf:
    """The leaf in a document; FormatError ``leaf_malformed``."""
    try:
        kind = fields.choice(value.get("kind") if isinstance(value, dict) else None, *KINDS)
        if kind == LOG:
            return _log(value)
        return _consent(value) if kind == CONSENT else parse_account(value, kind)
    except FormatError as error:
        raise FormatError(_REASON, f"in a leaf: {error}") from None


def origin_text(value: object) -> str:
    """The name of a log: like an address without its ``https://``; nothing need answer there. FormatError
    ``body_malformed``.
    """
    text = fields.text(value, _ORIGIN)
    if len(text) > ORIGIN_CHARACTERS_MAX:
        raise FormatError("body_malformed", f"the name of a log has more than {ORIGIN_CHARACTERS_MAX} characters")
    return text


def _log(value: object) -> LogLeaf:
    named = named_members(value, "v", "kind", "origin", "tenant", "time_ms")
    integer(named["v"], 1, 1)
    return LogLeaf(
        origin=origin_text(named["origin"]),
        tenant=identity(named["tenant"], ids.TENANT),
        time_ms=fields.number(named["time_ms"]),
    )


def _consent(value: object) -> ConsentLeaf:
    names = ("v", "kind", "record", "recipient", "seq", "event", "entry", "state", "generation", "time_ms")
    named = named_members(value, *names)
    integer(named["v"], 1, 1)
    leaf = ConsentLeaf(
        record=identity(named["record"], ids.RECORD),
        recipient=identity(named["recipient"], ids.RECIPIENT),
        seq=integer(named["seq"], 0),
        event=EventKind(fields.choice(named["event"], *EventKind)),
        entry=fields.hex_bytes(named["entry"], 32).hex(),
        state=State(fields.choice(named["state"], *State)),
        generation=integer(named["generation"], 1),
        time_ms=fields.number(named["time_ms"]),
    )
    if (leaf.seq == 0) != (leaf.event is EventKind.GIVE):
        raise FormatError(_REASON, "the first entry of a record gives it, and no other does")
    if leaf.state not in _after(leaf.event):
        raise FormatError(_REASON, f"no consent is {leaf.state} after the event {leaf.event}")
    return leaf


def _after(event: EventKind) -> set[State]:
    """What a consent can be after an event that is written as a document."""
    if event in {EventKind.REFUSE, EventKind.EXPIRE}:
        return set()
    return {after for (_, kind), after in TRANSITIONS.items() if kind is event}
