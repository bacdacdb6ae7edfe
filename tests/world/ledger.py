"""Every sample that a grant let the car keep, and what became of it; the laws that are checked while the world turns.

Law: what the car may keep is told by an oracle over cantools and fractions (`tests.agent.collect_oracle`), from frames
and from what the owner agreed to. Nothing of the product decides here whether the product was right.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from carnet.batch import Batch
from carnet.box import Prelude, open_box
from carnet.codec import decode, encode
from carnet.envelope import Envelope, parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import OpenError
from carnet.ids import RECORD, format_id
from carnet.schema import Schema
from carnet.sealed import is_sealed, open_body
from carnet.sealedevents import SEALED_TYPE, Opener
from carnet_agent.sending.window import LENGTH_MS
from tests import consentkit as kit
from tests.world.clockwork import Clockwork, law
from tests.world.cloudkeys import SEALS
from tests.world.truth import Agreed

NEEDLES_KEPT = 64
NEEDLE_BYTES = 16
CLOCK_SLACK_MS = 3
WINDOW_MS = max(LENGTH_MS.values())


@dataclass
class Sample:
    """One sample of one column for one record."""

    true_ms: int
    boot: int
    boot_ms: int
    sealed: tuple[bytes, int] | None = None
    """Stream and number of the envelope in which it was seen on the wire."""
    event: str = ""
    """The event that brought it to the recipient."""


@dataclass
class Received:
    """One event id at a recipient."""

    record: str
    samples: frozenset[tuple[str, str, float]]
    log_position: int
    is_final: bool = False
    """The recipient answered for good and the cloud wrote that down."""


@dataclass
class Ledger:
    """``agreed``: the owner's records by id."""

    clockwork: Clockwork
    agreed: dict[str, Agreed]
    vin: bytes
    kept: defaultdict[tuple[str, str, str], dict[float, Sample]] = field(default_factory=lambda: defaultdict(dict))
    """(record, path, transform) -> value -> sample."""
    received: dict[str, Received] = field(default_factory=dict)
    fallen_back: bool = False
    """The cloud was restored: what it confirmed before, it may send again under the same id."""
    lost_by_backup: set[tuple[bytes, int]] = field(default_factory=set)
    """Stream and number of envelopes that the restored store had acknowledged and the backup does not know."""
    generations: Counter[int] = field(default_factory=Counter)
    """Epoch -> highest generation that the cloud ever had."""
    unit_generations: Counter[int] = field(default_factory=Counter)
    """Highest that each unit ever named, but for a disk that lied."""
    epoch: int = 1
    """The one that the unit is in."""
    cloned_ms: int = 0
    """When the unit's card was copied."""
    is_damaged: bool = False
    """Bytes on the unit's disk have changed by themselves."""
    needles: list[bytes] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    # what the car may keep

    def keep(self, record: str, path: str, transform: dict[str, Any], value: float, sample: Sample) -> None:
        """The oracle says that this sample is the record's."""
        column = self.kept[record, path, spelled(transform)]
        name = named(value)
        law(name not in column, f"the world made {path} {value} twice")
        column[name] = sample

    # what the car says

    def published(self, payload: bytes, schemas: dict[bytes, bytes], unit: int = 0) -> None:
        """An envelope leaves a unit; ``schemas``: documents that it has, by hash."""
        envelope = parse_envelope(payload)
        self.hidden(payload, "an envelope")
        if envelope.manifest_hash in self._seen:
            return
        for index, part in enumerate(envelope.parts):
            if part.box is None:
                continue
            try:
                prelude, body = open_box(part.box, SEALS[part.kid], envelope.place(index))
            except OpenError:
                law(self.is_damaged, "the unit sends what nobody can open")
                self.clockwork.note("damaged_sent")
                return
            law(prelude.epoch == self.epoch, "law 2: the unit speaks of an owner who has sold the car")
            if envelope.header.seq == 0:
                law(prelude.generation >= self.unit_generations[unit], "law 3: the unit's generation fell")
                self.unit_generations[unit] = prelude.generation
            if envelope.header.type is not EnvelopeType.DATA:
                continue
            self._seen.add(envelope.manifest_hash)
            if prelude.schema_hash not in schemas:
                law(self.is_damaged, "the unit sends what it has no schema for")
                continue
            place = envelope.header.stream, envelope.header.seq
            batch = self._opened(prelude, body, Schema.parse(schemas[prelude.schema_hash]))
            self._read(place, prelude.records, batch)
            self._hide(encode(batch) if is_sealed(body) else body, payload)
        self.clockwork.trace(envelope.header.type, envelope.header.seq, envelope.manifest_hash.hex())

    def _opened(self, prelude: Prelude, body: bytes, schema: Schema) -> Batch:
        """The readings of a box, if those can open it whom their owner has agreed to, and nobody else."""
        agreed = [self.agreed.get(format_id(RECORD, each)) for each in prelude.records]
        sealed = [one is not None and one.is_sealed for one in agreed]
        law(sealed in ([True], [False] * len(sealed)), "law 4: what is one recipient's alone shares a box")
        law(is_sealed(body) == sealed[0], "law 4: a box is open to the cloud against its owner's word, or closed")
        if not sealed[0]:
            return decode(body, schema, size_max=1 << 22)
        self.clockwork.note("sealed_to_recipient")
        return open_body(body, schema, kit.RECIPIENT_KEY, prelude.records[0], prelude.boot_id)

    def _read(self, place: tuple[bytes, int], records: tuple[bytes, ...], batch: Batch) -> None:
        """Every sample of a box is one that each of its records was granted on the car."""
        for column, raw in zip(batch.schema.columns, batch.values, strict=True):
            for record in (format_id(RECORD, each) for each in records):
                law(record in self.agreed, "law 2: the car collected for a record that the owner never signed")
                law(self.agreed[record].epoch == self.epoch, "law 2: what the seller granted lives on in the car")
                kept = self.kept[record, column.path, spelled(column.transform.document())]
                for value in raw.tolist():
                    name = named(value * float(column.factor) + float(column.offset))
                    law(name in kept, f"law 1: the car sealed {column.path} for a record that was not granted it then")
                    kept[name].sealed = place

    def _hide(self, body: bytes, payload: bytes) -> None:
        """From now on these bytes may be nowhere."""
        if len(body) >= 2 * NEEDLE_BYTES:
            needle = body[len(body) // 2 - NEEDLE_BYTES // 2 :][:NEEDLE_BYTES]
            law(needle not in payload, "law 4: a body stands in its envelope unsealed")
            self.needles = [*self.needles[1 - NEEDLES_KEPT :], needle]

    def hidden(self, data: bytes, where: str) -> None:
        """No planted byte is in there."""
        law(self.vin not in data and self.vin[::-1] not in data, f"law 1: the VIN is in {where}")
        for needle in self.needles:
            law(needle not in data, f"law 4: readings lie unsealed in {where}")

    # what a recipient hears

    def heard(self, recipient: str, event_id: str, body: bytes) -> None:
        """The bytes of an event reach a recipient now."""
        now_ms = self.clockwork.now_ms
        law(self.vin not in body, "law 1: the VIN is in an event")
        event = json.loads(Opener((kit.RECIPIENT_KEY,)).open(body))
        data = event["data"]
        law(event["id"] == event_id, "law 5: an event has another id than its sender says")
        agreed = self.agreed.get(data["record"])
        law(agreed is not None, "law 6: an event names no record of the owner")
        assert agreed is not None
        law(agreed.is_sealed == (json.loads(body)["type"] == SEALED_TYPE), "law 4: the cloud can read it, or cannot")
        law(agreed.recipient == recipient, "law 1: an event reached another recipient than its record's")
        law(not agreed.silent, f"law 3: an event of {agreed.record} after its withdrawal or pause had returned")
        law(now_ms < agreed.expires_ms, "law 1: an event of an expired record")
        law(
            0 < data["generation"] <= self.generations[agreed.epoch],
            "law 6: an event names a generation that never was",
        )
        law(data["log_position"] > 0, "law 6: an event names no place in the log")
        samples = frozenset(
            (column["path"], spelled(column["transform"]), named(value))
            for column in data["columns"]
            for value in self._column(agreed, column, event_id)
        )
        law(samples, "an event without a sample")
        before = self.received.get(event_id)
        if before is None:
            self.received[event_id] = Received(agreed.record, samples, data["log_position"])
        else:
            # original and copy of a card use the same numbers, and a restored cloud has forgotten whose came first
            forgotten = self.fallen_back and self.cloned_ms
            law(before.samples == samples or forgotten, "law 5: one event id with two contents")
            law(self.fallen_back or not before.is_final, "law 5: an event came again after it was settled")
            self.clockwork.note("event_again")
        self.clockwork.trace(event_id, len(body))

    def _column(self, agreed: Agreed, column: dict[str, Any], event_id: str) -> list[float]:
        """Its values, if each of them is the record's: made, kept, captured inside, told at its time, and once."""
        path, transform = column["path"], column["transform"]
        law(agreed.item(path, transform), f"law 1: {path} under a transform that the record does not have")
        kept = self.kept[agreed.record, path, spelled(transform)]
        for value, t_ms in zip(column["v"], column["t_ms"], strict=True):
            sample = kept.get(named(value))
            law(sample is not None, f"law 1: {path} {value} was never granted to {agreed.record}")
            assert sample is not None
            law(
                agreed.covers_from_ms <= sample.true_ms < agreed.expires_ms,
                f"law 1: {path} was captured outside of the grant",
            )
            law(
                abs(t_ms - sample.true_ms) <= column["uncertainty_ms"] + CLOCK_SLACK_MS,
                f"{path} is told with a wrong time: {t_ms - sample.true_ms} ms",
            )
            doubled = sample.event not in {"", event_id}
            law(not doubled or self._is_cloned(sample), f"law 5: {path} {value} in two events")
            sample.event = event_id
        return list(column["v"])

    def _is_cloned(self, sample: Sample) -> bool:
        """Whether it lay in an open window when the card was copied: original and copy seal it, each by itself."""
        return 0 <= self.cloned_ms - sample.true_ms <= WINDOW_MS

    def settled(self, event_id: str) -> None:
        """The recipient has confirmed or refused, and the cloud has written that down."""
        self.received[event_id].is_final = True

    def rises(self, epoch: int, generation: int) -> None:
        """The cloud's generation of the vehicle, looked at now."""
        law(self.fallen_back or generation >= self.generations[epoch], "law 3: the cloud's generation fell")
        self.generations[epoch] = max(self.generations[epoch], generation)

    def sold(self, epoch: int) -> None:
        """The unit begins anew, for another owner."""
        self.epoch = epoch
        self.unit_generations.clear()


def spelled(transform: dict[str, Any]) -> str:
    """One spelling of a transform."""
    return _spelled(tuple(transform.items()))


@lru_cache(maxsize=64)
def _spelled(members: tuple[tuple[str, Any], ...]) -> str:
    return json.dumps(dict(members), sort_keys=True)


def named(value: float) -> float:
    """A value as a name: floats that differ in their last bits are one."""
    return round(float(value), 7)


def type_of(payload: bytes) -> EnvelopeType:
    envelope: Envelope = parse_envelope(payload)
    return envelope.header.type
