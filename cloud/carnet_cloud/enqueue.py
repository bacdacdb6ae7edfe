"""Judge the columns of an envelope and put what may leave into the outbox: one event per (envelope, record).

Law 1 and 6: what the gate does not allow is dropped here and counted with its reason; what it allows is sealed under
the key of its record before it touches the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from carnet.batch import Batch
from carnet.codec import encode
from carnet.errors import UnavailableError
from carnet.grants import Grant
from carnet.ids import RECORD, device_text, format_id
from carnet.schema import Schema
from carnet.times import UNSURE_MS_MAX, Anchor, Unresolved, intervals
from carnet_cloud import gate
from carnet_cloud.boxes import DataBox, ReadBox, SealedBox
from carnet_cloud.catalogue import Catalogue
from carnet_cloud.event import Payload, Piece, event_id, pack, pseudonym
from carnet_cloud.gate import Blocked, Bounds, Sender, Standing
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.intake import Arrived
from carnet_cloud.spans import Span, write
from carnet_cloud.store import Transaction
from carnet_cloud.store.outbox import Delivery, Queued
from carnet_cloud.wrapping import KEY_BYTES, Wrapping, seal


@dataclass(frozen=True, slots=True)
class Interval:
    """When the captures of a group began and ended: one moment each, or an aggregate's window."""

    begins: Bounds
    ends: Bounds

    @property
    def earliest(self) -> NDArray[np.int64]:
        return self.begins[0]

    @property
    def latest(self) -> NDArray[np.int64]:
        return self.ends[1]

    @property
    def clock_ms(self) -> int:
        """How uncertain the clock alone makes the least sure row; there is one at least."""
        return int((self.ends[1] - self.ends[0]).max())


class TimeUnknown(Exception):
    """The envelope has to wait: its capture times cannot be told, or a better clock may still decide them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What of one box one record may have, and per group of its rows how much of which path. ``schema``: of the piece,
    if the store does not have it from the car.
    """

    piece: Piece
    spans: tuple[Span, ...]
    schema: Schema | None = None


Withheld = Counter[tuple[str, str, Blocked]]
"""Samples that may not leave, by record, path and reason."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """What an enqueuing needs from outside the transaction."""

    book: GrantBook
    catalogue: Catalogue
    wrapping: Wrapping
    pseudonym_secret: bytes
    random: Callable[[int], bytes]


class Enqueuer:
    """Turns read boxes into events of the outbox. One lives as long as one transaction,
    and remembers what it read there.
    """

    def __init__(self, outlet: Outlet, t: Transaction) -> None:
        self._outlet = outlet
        self._t = t
        self._standings: dict[str, Standing | None] = {}
        self._keys: dict[str, bytes] = {}
        self._generations: dict[tuple[bytes, int], int] = {}
        self._refusals: dict[tuple[str, bytes], list[Blocked | None]] = {}

    def enqueue(self, arrived: Arrived, boxes: Sequence[DataBox], anchor: Anchor, received_ms: int, now_ms: int) -> int:
        """The number of events made. Raises TimeUnknown before anything was written."""
        device = arrived.device
        sender = Sender(device.tenant, device_text(device.vehicle), device.epoch)
        whens = [_intervals(box, anchor, received_ms) for box in boxes]
        kept: dict[str, list[Kept]] = {}
        withheld: Withheld = Counter()
        for box, when in zip(boxes, whens, strict=True):
            for record in map(_record_text, box.prelude.records):
                standing = self._taking(record, sender, box, now_ms, withheld)
                if standing is None:
                    continue
                if isinstance(box, SealedBox):
                    part = self._judge_whole(box, when[0], standing, anchor, withheld)
                else:
                    part = self._judge(box, when, standing, anchor, withheld)
                if part is not None:
                    kept.setdefault(record, []).append(part)
        # what has no sample was not withheld
        for (record, path, reason), samples in sorted((+withheld).items()):
            # names that only the unit knows get no row of their own: it could invent them for ever
            named = path if path in self._outlet.catalogue else ""
            self._t.blocks.add(device.vehicle, record, named, reason.value, samples, now_ms)
            self._t.counters.add(f"blocked_{reason.value}", samples)
        for record, parts in sorted(kept.items()):
            self._add(arrived, record, parts, received_ms, now_ms)
        return len(kept)

    def _taking(self, record: str, sender: Sender, box: DataBox, now_ms: int, withheld: Withheld) -> Standing | None:
        """How things stand with a record that this box may feed; None if it may not, which adds it to ``withheld``."""
        standing, own = self._standing(record), ""
        refused = gate.may_take(standing, sender, box.prelude.epoch, now_ms)
        if standing is not None:
            refused = refused or gate.may_open(standing.grant, box.kid)
            # a unit that names the records of others, or invents some, makes no row for each
            own = record if standing.grant.vehicle == sender.vehicle else ""
        if refused is None:
            return standing
        for path, samples in box.counts.items():
            withheld[own, path, refused] += samples
        return None

    def _judge(
        self, box: ReadBox, when: list[Interval], standing: Standing, anchor: Anchor, withheld: Withheld
    ) -> Kept | None:
        """What the record may have of this box; what it may not is added to ``withheld``."""
        record, batch = standing.grant.record_id, box.batch
        refusals = self._column_refusals(standing, batch.schema)
        open_groups = {column.group for column, each in zip(batch.schema.columns, refusals, strict=True) if not each}
        # for what is refused anyhow nothing has to wait
        inside = [_inside(standing, when[group]) if group in open_groups else None for group in range(len(when))]
        counts: dict[int, Counter[str]] = {}
        for column, values, refused in zip(batch.schema.columns, batch.values, refusals, strict=True):
            if refused is not None:
                withheld[record, column.path, refused] += len(values)
                continue
            count = len(_rows(values, inside[column.group]))
            withheld[record, column.path, Blocked.TIME] += len(values) - count
            if count:
                counts.setdefault(column.group, Counter())[column.path] += count
        if not counts:
            return None
        part = _allowed_columns(_inside_rows(batch, inside), refusals)
        piece = Piece(part.schema.hash, box.body if part is batch else encode(part), anchor)
        spans = tuple(Span(*_ends(when[g], inside[g]), counts[g]) for g in sorted(counts))
        return Kept(piece, spans, None if part.schema is batch.schema else part.schema)

    def _judge_whole(
        self, box: SealedBox, when: Interval, standing: Standing, anchor: Anchor, withheld: Withheld
    ) -> Kept | None:
        """All of a box that cannot be cut, or nothing; then all of it is added to ``withheld``."""
        counts = box.sealed.declaration.counts
        refusals = self._column_refusals(standing, box.schema)
        columns = [
            (column.path, counts[column.group], refused)
            for column, refused in zip(box.schema.columns, refusals, strict=True)
            if counts[column.group]
        ]
        if any(refused for _, _, refused in columns):
            otherwise = Blocked.SEAL
        elif _inside(standing, when) is not None:
            otherwise = Blocked.TIME
        else:
            piece = Piece(box.prelude.schema_hash, box.body, anchor)
            return Kept(piece, (Span(*_ends(when, None), +box.counts),))
        for path, samples, refused in columns:
            withheld[standing.grant.record_id, path, refused or otherwise] += samples
        return None

    def _add(self, arrived: Arrived, record: str, parts: list[Kept], received_ms: int, now_ms: int) -> None:
        """Seal one event under its record's key and put it into the outbox."""
        standing, device = self._standings[record], arrived.device
        assert standing is not None
        grant = standing.grant
        name = event_id(*arrived.key, grant.record_id, grant.recipient)
        generation = self._generation(device.vehicle, device.epoch)
        for part in parts:
            if part.schema is not None:
                self._t.streams.add_schema(device.device, part.schema.hash, part.schema.document)
        payload = pack(
            Payload(
                event_id=name,
                record=grant.record_id,
                generation=generation,
                log_position=standing.position,
                reference=grant.reference,
                subject=pseudonym(device.vehicle, grant.recipient, self._outlet.pseudonym_secret),
                source=f"urn:carnet:{device.tenant}",
                receipt_ms=received_ms,
                pieces=tuple(part.piece for part in parts),
            )
        )
        spans = [span for part in parts for span in part.spans]
        delivery = Delivery(
            event_id=name,
            record=grant.record_id,
            recipient=grant.recipient,
            generation=generation,
            samples=sum(sum(span.counts.values()) for span in spans),
            counts=write(spans),
            first_ms=min(span.first_ms for span in spans),
            last_ms=max(span.last_ms for span in spans),
            size_bytes=len(payload),
            outcome="queued",
            time_ms=now_ms,
            log_position=standing.position,
        )
        sealed = seal(payload, self._key(grant), name, self._outlet.random)
        queued = Queued(name, grant.record_id, grant.recipient, generation, now_ms, sealed)
        if self._t.outbox.add(queued, delivery, now_ms + grant.replay_ms):
            self._t.counters.add("events_enqueued")

    # what this transaction has read already

    def _standing(self, record: str) -> Standing | None:
        if record not in self._standings:
            self._standings[record] = self._outlet.book.standing(self._t, record)
        return self._standings[record]

    def _column_refusals(self, standing: Standing, schema: Schema) -> list[Blocked | None]:
        """The gate's answer for every column of a schema: the same for each envelope of the group."""
        key = (standing.grant.record_id, schema.hash)
        if key not in self._refusals:
            entries = [self._outlet.catalogue.get(column.path) for column in schema.columns]
            self._refusals[key] = [
                gate.may_hold(standing.grant, column, entry)
                for column, entry in zip(schema.columns, entries, strict=True)
            ]
        return self._refusals[key]

    def _generation(self, vehicle: bytes, epoch: int) -> int:
        key = vehicle, epoch
        if key not in self._generations:
            self._generations[key] = self._t.consents.generation(vehicle, epoch)
        return self._generations[key]

    def _key(self, grant: Grant) -> bytes:
        """The key of (record, recipient), made when the first event needs it."""
        record = grant.record_id
        if record not in self._keys:
            stored = self._t.outbox_keys.get(record, grant.recipient)
            self._keys[record] = self._unwrapped(stored) or self._new_key(grant, stored)
        return self._keys[record]

    def _new_key(self, grant: Grant, gone: tuple[bytes, bytes] | None) -> bytes:
        """A key in the place of one whose wrapping key is gone, if there was one; or that which another receiver has
        made meanwhile.
        """
        keys = self._t.outbox_keys
        self._t.others.wrap()
        wrapped = self._outlet.wrapping.wrap(self._outlet.random(KEY_BYTES))
        lost = gone[1] if gone else None
        keys.set(grant.record_id, grant.recipient, *wrapped, grant.expires_ms, instead_of=lost)
        key = self._unwrapped(keys.get(grant.record_id, grant.recipient))
        if key is None:
            raise UnavailableError("outbox_key_gone", "the key of a record was destroyed while it was made")
        return key

    def _unwrapped(self, stored: tuple[bytes, bytes] | None) -> bytes | None:
        """None if there is no key, or its wrapping key is gone."""
        return self._outlet.wrapping.unwrap(*stored) if stored else None


@lru_cache(maxsize=65_536)
def _record_text(record: bytes) -> str:
    return format_id(RECORD, record)


def _intervals(box: DataBox, anchor: Anchor, received_ms: int) -> list[Interval]:
    """Per group of the box the earliest and latest wall time of every row; TimeUnknown if the anchor cannot tell.

    A row of an aggregate stands for its whole window (``docs/transforms.md``), so its interval begins with the window.
    Of a sealed box there is one interval, the declared one.
    """
    if isinstance(box, SealedBox):
        declared = box.sealed.declaration
        first_ms, last_ms = (np.array([time_ms], np.int64) for time_ms in (declared.first_ms, declared.last_ms))
        return [_interval(box, first_ms, last_ms, anchor, received_ms)]
    groups = zip(box.batch.times, box.schema.windows, strict=True)
    return [_interval(box, _begins(times, w), times, anchor, received_ms) for times, w in groups]


def _begins(times: NDArray[np.int64], window_ms: int) -> NDArray[np.int64]:
    return (times - 1) // window_ms * window_ms if window_ms else times


def _interval(
    box: DataBox, begins: NDArray[np.int64], ends: NDArray[np.int64], anchor: Anchor, received_ms: int
) -> Interval:
    """Of captures between these moments of BOOTTIME."""
    late = _wall_times(box, ends, anchor, received_ms)
    early = late if begins is ends else _wall_times(box, begins, anchor, received_ms)
    return Interval(early, late)


def _wall_times(box: DataBox, boot_ms: NDArray[np.int64], anchor: Anchor, received_ms: int) -> Bounds:
    """The earliest and the latest of each moment; TimeUnknown if the anchor cannot tell one of them."""
    found = intervals(box.prelude.boot_id, boot_ms, [anchor], received_ms)
    if isinstance(found, Unresolved):
        raise TimeUnknown(str(found))
    return found


def _inside(standing: Standing, interval: Interval) -> NDArray[np.bool_] | None:
    """Which rows were captured inside the grant; None if all were.
    TimeUnknown if a better clock may still decide some.
    """
    inside = gate.captured_inside(standing.grant, interval.earliest, interval.latest)
    if inside.all():
        return None
    if interval.clock_ms > UNSURE_MS_MAX and gate.unsure(standing.grant, interval.begins, interval.ends).any():
        raise TimeUnknown("unsure")
    return inside


def _inside_rows(batch: Batch, inside: Sequence[NDArray[np.bool_] | None]) -> Batch:
    """The rows of a batch that lie inside the grant; the batch itself if all do."""
    if all(mask is None for mask in inside):
        return batch
    times = tuple(map(_rows, batch.times, inside))
    values = (_rows(raw, inside[group]) for group, raw in zip(batch.schema.groups, batch.values, strict=True))
    return Batch(batch.schema, times, tuple(values))


def _allowed_columns(batch: Batch, refusals: Sequence[Blocked | None]) -> Batch:
    """The columns of a batch that are not refused; the batch itself if none is.

    One that is only without a sample stays: a car has one schema for as long as a set of grants lasts, and each
    combination of silent columns would be another one, kept here for ever.
    """
    if not any(refusals):
        return batch
    pairs = zip(batch.schema.columns, batch.values, refusals, strict=True)
    allowed = [(column, raw) for column, raw, refused in pairs if refused is None]
    groups = {group: number for number, group in enumerate(sorted({column.group for column, _ in allowed}))}
    schema = Schema(tuple(replace(column, group=groups[column.group]) for column, _ in allowed))
    return Batch(schema, tuple(batch.times[group] for group in groups), tuple(raw for _, raw in allowed))


def _rows(values: NDArray[np.int64], mask: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    return values if mask is None else values[mask]


def _ends(interval: Interval, mask: NDArray[np.bool_] | None) -> tuple[int, int]:
    """First and last wall time of the chosen rows."""
    return int(_rows(interval.earliest, mask).min()), int(_rows(interval.latest, mask).max())
