"""Grant sets: everything that is granted for one vehicle and epoch, delivered whole; and what a car never forgets of
them.

Law: generations only rise, and a record's history only grows. A set that is older than one seen is refused as a whole;
a record that is broken or has lost events is refused alone, and the good ones of the set hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from carnet import canonical, fields, hashes, ids, jws
from carnet.errors import ConsentError, RemoteError
from carnet.grants import Grant, compile_grant
from carnet.limits import INFLATED_BYTES_MAX
from carnet.offers import VALID_DAYS_MAX
from carnet.ownerkeys import EPOCH_MAX, TOKENS_MAX, OwnerKeys
from carnet.recordevents import EVENTS_MAX
from carnet.records import claimed_id
from carnet.refusals import DAY_MS, identity, integer, refused_as, vehicle_text
from carnet.states import ALIVE

RECORDS_MAX: Final = 64
ENDED_MAX: Final = 1024
GENERATION_MAX: Final = 2**32 - 1
"""Largest number that fits a box's prelude. A vehicle that somebody's lie brought there goes on under it for ever: the
sets that follow have the same number, and only the records' histories say what is older (decision 0020).
"""
ENDED_KEPT_MS: Final = VALID_DAYS_MAX * DAY_MS
"""How long after its end an ended record is remembered: a renewal signed before it cannot reach further."""

_ENTRY: Final = re.compile(r".+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Documents:
    """One record of a set with its offer and events, as they are stored."""

    offer: bytes
    record: str
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GrantSet:
    """A parsed set; the documents in it are not yet looked into. ``hash`` is of the set's bytes, in hexadecimal."""

    vehicle: str
    epoch: int
    generation: int
    keys: tuple[str, ...] = ()
    """Tokens that add or remove a key of the owner."""
    records: tuple[Documents, ...] = ()
    ended: tuple[tuple[str, int], ...] = ()
    """(record id, its end in ms since 1970), ascending."""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """How far a record had come when it was last seen."""

    event_seq: int
    hash: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Floors:
    """What may never fall, of one vehicle and epoch. Begins empty with a new epoch; kept on disk beside the set."""

    generation: int = 0
    set_hash: str = ""
    """Hash of the set of this generation; empty before the first."""
    heads: Mapping[str, Head] = field(default_factory=lambda: MappingProxyType({}))
    """Record id -> its last known head, of every record that has not ended."""
    ended: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Record id -> last known end in ms since 1970, of every record that has ended."""

    def pruned(self, earliest_ms: int) -> Floors:
        """Without the ended records that nothing can bring back; ``earliest_ms`` is the earliest that it can be now."""
        kept = {record: end for record, end in self.ended.items() if end + ENDED_KEPT_MS > earliest_ms}
        return replace(self, ended=MappingProxyType(kept))


@dataclass(frozen=True, slots=True)
class Refused:
    """One refused record or key of a set. ``record_id`` is what it claims to be, None if that cannot be read or it is
    a key.
    """

    kind: str
    """``record`` or ``key``."""
    index: int
    record_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class CompiledSet:
    """The grants of a set, in any state, in the set's order; what was refused in it; and the floors from now on."""

    generation: int
    owner: OwnerKeys
    """The owner's keys after those that the set added and removed."""
    grants: tuple[Grant, ...]
    refused: tuple[Refused, ...]
    floors: Floors


def encode_grant_set(grant_set: GrantSet) -> bytes:
    """The bytes of a set; its ``hash`` is not looked at."""
    document = {
        "v": 1,
        "type": "grants",
        "vehicle": grant_set.vehicle,
        "epoch": grant_set.epoch,
        "generation": grant_set.generation,
        "keys": list(grant_set.keys),
        "records": [
            {"offer": jws.base64url(one.offer), "record": one.record, "events": list(one.events)}
            for one in grant_set.records
        ],
        "ended": [{"id": record, "expires_ms": end} for record, end in grant_set.ended],
    }
    return canonical.encode(document)


def parse_grant_set(data: bytes) -> GrantSet:
    """The set in ``data``; canonical JSON's reasons or ConsentError ``grants_malformed``."""
    document = canonical.parse(data, INFLATED_BYTES_MAX)
    with refused_as("grants_malformed"):
        version, kind, vehicle, epoch, generation, keys, records, ended = fields.members(
            document, "v", "type", "vehicle", "epoch", "generation", "keys", "records", "ended"
        )
        integer(version, 1, 1)
        fields.choice(kind, "grants")
        found = GrantSet(
            vehicle=vehicle_text(vehicle),
            epoch=integer(epoch, 1, EPOCH_MAX),
            generation=integer(generation, 0, GENERATION_MAX),
            keys=tuple(fields.text(key, _ENTRY) for key in fields.items(keys, 0, TOKENS_MAX)),
            records=tuple(_documents(one) for one in fields.items(records, 0, RECORDS_MAX)),
            ended=tuple(_ended(one) for one in fields.items(ended, 0, ENDED_MAX)),
            hash=hashes.digest(hashes.GRANTS, data).hex(),
        )
        fields.ascending(tuple(record for record, _ in found.ended))
    if len({one.record for one in found.records}) < len(found.records):
        raise ConsentError("grants_malformed", "a grant set holds a record twice")
    return found


def compile_set(grant_set: GrantSet, owner: OwnerKeys, floors: Floors) -> CompiledSet:
    """What a set comes to for a vehicle that has seen ``floors``.

    ConsentError ``grants_vehicle``, ``grants_epoch``, ``grants_malformed`` (two tokens of one record),
    ``generation_rolled_back`` or ``generation_forked`` refuses the set; what is wrong with one record or key stands in
    `CompiledSet.refused`.
    """
    _check_place(grant_set, owner, floors)
    owner, refused = _with_keys(owner, grant_set.keys)
    listed = {record for record, _ in grant_set.ended}
    grants: list[Grant] = []
    for index, one in enumerate(grant_set.records):
        try:
            grant = compile_grant(one.offer, one.record, one.events, owner)
            _check_history(grant, floors, listed)
        except RemoteError as error:
            refused.append(Refused("record", index, claimed_id(one.record), error.reason))
        else:
            grants.append(grant)
    if len({grant.record_id for grant in grants}) < len(grants):
        raise ConsentError("grants_malformed", "a grant set holds a record twice")
    after = _floors_after(grant_set, floors, grants, refused)
    return CompiledSet(grant_set.generation, owner, tuple(grants), tuple(refused), after)


def _documents(value: object) -> Documents:
    offer, record, events = fields.members(value, "offer", "record", "events")
    return Documents(
        jws.base64url_bytes(fields.text(offer, jws.BASE64URL)),
        fields.text(record, _ENTRY),
        tuple(fields.text(event, _ENTRY) for event in fields.items(events, 0, EVENTS_MAX)),
    )


def _ended(value: object) -> tuple[str, int]:
    record, expires_ms = fields.members(value, "id", "expires_ms")
    return identity(record, ids.RECORD), integer(expires_ms, 0)


def _check_place(grant_set: GrantSet, owner: OwnerKeys, floors: Floors) -> None:
    if grant_set.vehicle != owner.vehicle:
        raise ConsentError("grants_vehicle", "a grant set is for another vehicle")
    if grant_set.epoch != owner.epoch:
        raise ConsentError("grants_epoch", "a grant set is of another epoch: the vehicle has changed hands")
    if grant_set.generation < floors.generation:
        raise ConsentError("generation_rolled_back", "a grant set is older than one that was already seen")
    is_last = grant_set.generation == GENERATION_MAX
    if grant_set.generation == floors.generation and not is_last and floors.set_hash not in ("", grant_set.hash):
        raise ConsentError("generation_forked", "two different grant sets have the same generation")


def _with_keys(owner: OwnerKeys, tokens: tuple[str, ...]) -> tuple[OwnerKeys, list[Refused]]:
    refused = []
    for index, token in enumerate(tokens):
        try:
            owner = owner.with_tokens((token,))
        except RemoteError as error:
            refused.append(Refused("key", index, None, error.reason))
    return owner, refused


def _check_history(grant: Grant, floors: Floors, listed: set[str]) -> None:
    if grant.record_id in floors.ended or grant.record_id in listed:
        raise ConsentError("record_ended", "a record has ended and does not come back")
    head = floors.heads.get(grant.record_id)
    if head is None:
        return
    if grant.event_seq < head.event_seq:
        raise ConsentError("events_rolled_back", "a record has lost events that were already seen")
    if grant.chain[head.event_seq] != head.hash:
        raise ConsentError("events_forked", "a record has another history than the one that was already seen")


def _floors_after(grant_set: GrantSet, floors: Floors, grants: list[Grant], refused: list[Refused]) -> Floors:
    """The floors after a set: its generation, the heads of what lives, and the end of whatever ended or is missing."""
    heads = dict(floors.heads)
    ended = dict(floors.ended)
    for grant in grants:
        heads[grant.record_id] = Head(grant.event_seq, grant.head_hash, grant.expires_ms)
        if grant.state not in ALIVE:
            ended[grant.record_id] = heads.pop(grant.record_id).expires_ms
    claimed = {one.record_id for one in refused if one.kind == "record"}
    if None not in claimed:
        # a record that cannot be told from a missing one is silent without a grant; it need not end for ever
        present = {grant.record_id for grant in grants} | claimed
        for record in [record for record in heads if record not in present]:
            ended[record] = heads.pop(record).expires_ms
    for record, end in grant_set.ended:
        if record in heads:
            ended[record] = max(heads.pop(record).expires_ms, end)
    return Floors(grant_set.generation, grant_set.hash, MappingProxyType(heads), MappingProxyType(ended))
