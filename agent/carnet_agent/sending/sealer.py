"""The sealer: from cuts and bodies to boxes that only the cloud opens, each for one place. What only its recipient may
read is sealed to that inside of such a box.

Law 4: whatever leaves this module is sealed; the seed of every box is random and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from carnet.batch import Batch
from carnet.box import Place, Prelude, seal_box
from carnet.codec import encode
from carnet.envelope import BOXES_MAX, NO_PREVIOUS, Header, sign_envelope
from carnet.envelopetype import EnvelopeType
from carnet.keys import SigningKey
from carnet.keyset import PublicKey
from carnet.limits import MESSAGE_BYTES_MAX
from carnet.schema import Schema
from carnet.sealed import seal_body
from carnet.signals import DeliveryClass
from carnet_agent.buffer import NewBox, NewEnvelope, Priority

BODY_BYTES_MAX: Final = 200_000
"""A larger batch is halved: with padding a box of this body still fits an envelope."""
_ENVELOPE_BYTES: Final = 152
_ENTRY_BYTES: Final = 13
_SEED_BYTES: Final = 32
_CUT_BYTES: Final = 8
_HANDLE_NONE: Final = bytes(8)
_SCHEMA_NONE: Final = bytes(16)

PRIORITY: Final = {
    DeliveryClass.EVENT: Priority.EVENT,
    DeliveryClass.LIVE: Priority.LIVE,
    DeliveryClass.BACKGROUND: Priority.BACKGROUND,
}


class Cut(Protocol):
    """What goes into one box: see `carnet_agent.collect`."""

    @property
    def records(self) -> tuple[bytes, ...]: ...

    @property
    def delivery_class(self) -> DeliveryClass: ...

    @property
    def batch(self) -> Batch: ...

    @property
    def sealed_to(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Seal:
    """What boxes of one moment share: stream, key of the cloud, and a prelude with epoch, generation and time."""

    stream: bytes
    to: PublicKey
    prelude: Prelude


class Sealer:
    """Seals for one device. ``handle_of`` gives the handle of a set of records, durable when it returns."""

    def __init__(
        self,
        device: bytes,
        key: SigningKey,
        random: Callable[[int], bytes],
        handle_of: Callable[[tuple[bytes, ...]], bytes],
    ) -> None:
        self._device = device
        self._key = key
        self._random = random
        self._handle_of = handle_of

    def window(self, cuts: Iterable[Cut], seal: Seal) -> list[NewEnvelope]:
        """The data envelopes of a window: those of one class share one, as far as they fit."""
        found: list[NewEnvelope] = []
        parts = [(cut, batch) for cut in cuts for batch in _fitting(cut.batch)]
        for priority in sorted(set(PRIORITY.values())):
            found += self._packed(
                priority, [each for each in parts if PRIORITY[each[0].delivery_class] == priority], seal
            )
        return found

    def checkpoint(self, cuts: Iterable[Cut], seal: Seal) -> list[NewEnvelope]:
        """The same with one box each: none of them depends on the place of another."""
        return [
            NewEnvelope(EnvelopeType.DATA, PRIORITY[cut.delivery_class], name, (self._data(name, 0, cut, batch, seal),))
            for cut in cuts
            for batch in _fitting(cut.batch)
            for name in (self._random(_CUT_BYTES),)
        ]

    def body(self, kind: EnvelopeType, cut: bytes, body: bytes, seal: Seal) -> NewBox:
        """The one box of an envelope that is not data."""
        return NewBox(seal.to.kid, self._sealed(kind, cut, 0, seal.prelude, body, seal), _HANDLE_NONE, 0, _SCHEMA_NONE)

    def envelope(self, kind: EnvelopeType, body: bytes, seal: Seal) -> NewEnvelope:
        """An envelope that is not data and is never evicted."""
        cut = self._random(_CUT_BYTES)
        return NewEnvelope(kind, Priority.KEEP, cut, (self.body(kind, cut, body, seal),))

    def check_in(self, body: bytes, seal: Seal) -> bytes:
        """The bytes of a check-in: number 0, outside the chain, never stored."""
        kind, cut = EnvelopeType.CHECK_IN_OR_HEALTH, self._random(_CUT_BYTES)
        header = Header(kind, self._device, seal.stream, 0, cut, self._key.kid, NO_PREVIOUS)
        box = self._sealed(kind, cut, 0, seal.prelude, body, seal)
        return sign_envelope(header, [(seal.to.kid, box)], self._key)

    def _packed(self, priority: Priority, parts: Sequence[tuple[Cut, Batch]], seal: Seal) -> Iterator[NewEnvelope]:
        cut, boxes, size = self._random(_CUT_BYTES), list[NewBox](), _ENVELOPE_BYTES
        for each, batch in parts:
            box = self._data(cut, len(boxes), each, batch, seal)
            if boxes and (len(boxes) == BOXES_MAX or size + _ENTRY_BYTES + len(box.box) > MESSAGE_BYTES_MAX):
                yield NewEnvelope(EnvelopeType.DATA, priority, cut, tuple(boxes))
                cut, boxes, size = self._random(_CUT_BYTES), [], _ENVELOPE_BYTES
                # it was sealed for a place in the envelope before
                box = self._data(cut, 0, each, batch, seal)
            boxes.append(box)
            size += _ENTRY_BYTES + len(box.box)
        if boxes:
            yield NewEnvelope(EnvelopeType.DATA, priority, cut, tuple(boxes))

    def _data(self, cut: bytes, index: int, what: Cut, batch: Batch, seal: Seal) -> NewBox:
        schema = batch.schema.hash
        prelude = replace(seal.prelude, schema_hash=schema, delivery_class=what.delivery_class, records=what.records)
        box = self._sealed(EnvelopeType.DATA, cut, index, prelude, self._content(what, batch, prelude), seal)
        return NewBox(seal.to.kid, box, self._handle_of(what.records), batch.samples, schema)

    def _content(self, what: Cut, batch: Batch, prelude: Prelude) -> bytes:
        """The body of a data box: one that the cloud reads, or one that only the recipient does."""
        if what.sealed_to is None:
            return encode(batch)
        (record,) = what.records
        return seal_body(batch, what.sealed_to, record, prelude.boot_id, self._random(_SEED_BYTES))

    def _sealed(self, kind: EnvelopeType, cut: bytes, index: int, prelude: Prelude, body: bytes, seal: Seal) -> bytes:
        place = Place(kind, index, self._device, seal.stream, cut, self._key.kid, seal.to.kid)
        return seal_box(prelude, body, seal.to.public, place, self._random(_SEED_BYTES))


def schemas_of(cuts: Iterable[Cut]) -> dict[bytes, bytes]:
    """Hash -> document of every schema that the boxes of these cuts name."""
    schemas = (batch.schema for cut in cuts for batch in _fitting(cut.batch))
    return {schema.hash: schema.document for schema in schemas}


def _fitting(batch: Batch) -> Iterator[Batch]:
    """The batch itself, or halves of it that fit a box: by groups, and a single group by its rows."""
    # no codec makes more than 9 bytes of a value; only what may be too large is encoded to see
    if batch.samples * 2 * 9 <= BODY_BYTES_MAX or len(encode(batch)) <= BODY_BYTES_MAX:
        yield batch
        return
    if batch.schema.group_count > 1:
        middle = batch.schema.group_count // 2
        halves = [_groups(batch, 0, middle), _groups(batch, middle, batch.schema.group_count)]
    else:
        middle = len(batch.times[0]) // 2
        halves = [
            Batch(batch.schema, (batch.times[0][rows],), tuple(values[rows] for values in batch.values))
            for rows in (slice(0, middle), slice(middle, None))
        ]
    for half in halves:
        yield from _fitting(half)


def _groups(batch: Batch, first: int, last: int) -> Batch:
    chosen = [number for number, column in enumerate(batch.schema.columns) if first <= column.group < last]
    columns = tuple(replace(batch.schema.columns[n], group=batch.schema.columns[n].group - first) for n in chosen)
    return Batch(Schema(columns), batch.times[first:last], tuple(batch.values[n] for n in chosen))
