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
from carnet_cloud.gate import Blocked, Sender, Standing
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.intake import Arrived
from carnet_cloud.spans import Span, write
from carnet_cloud.store import Transaction
from carnet_cloud.store.outbox import Delivery, Queued
from carnet_cloud.wrapping import KEY_BYTES, Wrapping, seal


@dataclass(frozen=True, slots=True)
class Interval:
    """Capture intervals of the rows of a group in ms since 1970;
    ``clock_ms`` is how uncertain the clock alone makes them.
    """

    earliest: NDArray[np.int64]
    latest: NDArray[np.int64]
    clock_ms: int


class TimeUnknown(Exception):
    """The envelope has to wait: its capture times cannot be told, or a better clock may still decide them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What of one box one record may have, and per group of its rows how much of which path."""

    piece: Piece
    spans: tuple[Span, ...]


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
        self._generations: dict[bytes, int] = {}
        self._refusals: dict[tuple[str, bytes], list[Blocked | None]] = {}

    def enqueue(self, arrived: Arrived, boxes: Sequence[DataBox], anchor: Anchor, received_ms: int, now_ms: int) -> int:
        """The number of events made. Raises TimeUnknown before anything was written."""
        device = arrived.device
        sender = Sender(device.tenant, device_text(device.vehicle), device.epoch)
        whens = [_intervals(box, anchor, received_ms) for box in boxes]
        kept: dict[str, list[Kept]] = {}
        blocked: Counter[tuple[str, str, Blocked]] = Counter()
        for box, when in zip(boxes, whens, strict=True):
            for record in map(_record_text, box.prelude.records):
                standing = self._standing(record)
                refused = gate.may_take(standing, sender, box.prelude.epoch, now_ms)
                if refused is None and standing is not None:
                    refused = gate.may_open(standing.grant, box.kid)
                if refused is not None or standing is None:
                    mine = record if standing is not None and standing.grant.vehicle == sender.vehicle else ""
                    for path, count in box.counts.items():
                        blocked[mine, path, refused or Blocked.OWNER] += count
                    continue
                if isinstance(box, SealedBox):
                    part = self._judge_whole(box, when[0], standing, anchor, blocked)
                else:
                    part = self._judge(device.device, box, when, standing, anchor, blocked)
                if part is not None:
                    kept.setdefault(record, []).append(part)
        for (record, path, reason), samples in sorted(blocked.items()):
            # names that only the unit knows get no row of their own: it could invent them for ever
            named = path if path in self._outlet.catalogue else ""
            self._t.blocks.add(device.vehicle, record, named, reason.value, samples, now_ms)
            self._t.counters.add(f"blocked_{reason.value}", samples)
        for record, parts in sorted(kept.items()):
            self._add(arrived, record, parts, received_ms, now_ms)
        return len(kept)

    def _judge(
        self,
        device: bytes,
        box: ReadBox,
        when: list[Interval],
        standing: Standing,
        anchor: Anchor,
        blocked: Counter[tuple[str, str, Blocked]],
    ) -> Kept | None:
        """What the record may have of this box; what it may not is added to ``blocked``."""
        grant, batch = standing.grant, box.batch
        columns = batch.schema.columns
        inside = [_inside(standing, interval) for interval in when]
        refusals = self._column_refusals(standing, batch.schema)
        chosen: list[int] = []
        counts: dict[int, Counter[str]] = {}
        for number, (column, values, refused) in enumerate(zip(columns, batch.values, refusals, strict=True)):
            if refused is not None:
                blocked[grant.record_id, column.path, refused] += len(values)
                continue
            mask = inside[column.group]
            count = len(values) if mask is None else int(mask.sum())
            if count < len(values):
                blocked[grant.record_id, column.path, Blocked.TIME] += len(values) - count
            if count:
                chosen.append(number)
                counts.setdefault(column.group, Counter())[column.path] += count
        if not chosen:
            return None
        if len(chosen) == len(columns) and all(mask is None for mask in inside):
            piece = Piece(box.prelude.schema_hash, box.body, anchor)
        else:
            piece = self._cut_out(device, batch, chosen, inside, anchor)
        return Kept(piece, tuple(Span(*_ends(when[g], inside[g]), counts[g]) for g in sorted(counts)))

    def _judge_whole(
        self,
        box: SealedBox,
        when: Interval,
        standing: Standing,
        anchor: Anchor,
        blocked: Counter[tuple[str, str, Blocked]],
    ) -> Kept | None:
        """All of a box that cannot be cut, or nothing; then all of it is added to ``blocked``."""
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
            blocked[standing.grant.record_id, path, refused or otherwise] += samples
        return None

    def _add(self, arrived: Arrived, record: str, parts: list[Kept], received_ms: int, now_ms: int) -> None:
        """Seal one event under its record's key and put it into the outbox."""
        standing, device = self._standings[record], arrived.device
        assert standing is not None
        grant = standing.grant
        name = event_id(*arrived.key, grant.record_id, grant.recipient)
        generation = self._generation(device.vehicle, device.epoch)
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
        queued = Queued(name, grant.record_id, grant.recipient, generation, now_ms, sealed, 0)
        if self._t.outbox.add(queued, delivery, now_ms + grant.replay_ms):
            self._t.counters.add("events_enqueued")

    def _cut_out(
        self, device: bytes, batch: Batch, chosen: list[int], inside: list[NDArray[np.bool_] | None], anchor: Anchor
    ) -> Piece:
        """A piece with only the chosen columns and only the rows that lie inside the grant."""
        columns = [batch.schema.columns[number] for number in chosen]
        groups = sorted({column.group for column in columns})
        schema = Schema(tuple(replace(column, group=groups.index(column.group)) for column in columns))
        self._t.streams.add_schema(device, schema.hash, schema.document)
        times = tuple(_rows(batch.times[group], inside[group]) for group in groups)
        values = tuple(_rows(batch.values[n], inside[c.group]) for n, c in zip(chosen, columns, strict=True))
        return Piece(schema.hash, encode(Batch(schema, times, values)), anchor)

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
        if vehicle not in self._generations:
            self._generations[vehicle] = self._t.consents.generation(vehicle, epoch)
        return self._generations[vehicle]

    def _key(self, grant: Grant) -> bytes:
        """The key of (record, recipient), made when the first event needs it."""
        record, recipient = grant.record_id, grant.recipient
        if record not in self._keys:
            stored = self._t.outbox_keys.get(record, recipient)
            key = self._outlet.wrapping.unwrap(*stored) if stored else None
            self._keys[record] = key or self._new_key(grant, stored[1] if stored else b"")
        return self._keys[record]

    def _new_key(self, grant: Grant, lost: bytes) -> bytes:
        """A key, or that which another receiver has made meanwhile. ``lost``: the wrapping key of one that is gone."""
        wrapping, keys = self._outlet.wrapping, self._t.outbox_keys
        self._t.others.wrap()
        wrapped = wrapping.wrap(self._outlet.random(KEY_BYTES))
        keys.set(grant.record_id, grant.recipient, *wrapped, grant.expires_ms, instead_of=lost)
        stored = keys.get(grant.record_id, grant.recipient)
        key = wrapping.unwrap(*stored) if stored else None
        if key is None:
            raise UnavailableError("outbox_key_gone", "the key of a record was destroyed while it was made")
        return key


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
    late = intervals(box.prelude.boot_id, ends, [anchor], received_ms)
    early = late if begins is ends else intervals(box.prelude.boot_id, begins, [anchor], received_ms)
    if isinstance(late, Unresolved) or isinstance(early, Unresolved):
        raise TimeUnknown(str(late if isinstance(late, Unresolved) else early))
    return Interval(early[0], late[1], int((late[1] - late[0]).max(initial=0)))


def _inside(standing: Standing, interval: Interval) -> NDArray[np.bool_] | None:
    """Which rows were captured inside the grant; None if all were.
    TimeUnknown if a better clock may still decide some.
    """
    inside = gate.captured_inside(standing.grant, interval.earliest, interval.latest)
    if inside.all():
        return None
    if interval.clock_ms > UNSURE_MS_MAX and gate.unsure(standing.grant, interval.earliest, interval.latest).any():
        raise TimeUnknown("unsure")
    return inside


def _rows(values: NDArray[np.int64], mask: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    return values if mask is None else values[mask]


def _ends(interval: Interval, mask: NDArray[np.bool_] | None) -> tuple[int, int]:
    """First and last wall time of the chosen rows."""
    return int(_rows(interval.earliest, mask).min()), int(_rows(interval.latest, mask).max())
