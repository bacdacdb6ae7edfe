"""Judge the columns of an envelope and put what may leave into the outbox: one event per (envelope, record).

Law 1 and 6: what the gate does not allow is dropped here and counted with its reason; what it allows is sealed under the
key of its record before it touches the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from carnet import canonical
from carnet.batch import Batch
from carnet.codec import encode
from carnet.ids import RECORD, device_text, format_id
from carnet.schema import Column, Schema
from carnet.times import Anchor, Unresolved, intervals
from numpy.typing import NDArray

from carnet_cloud import gate
from carnet_cloud.boxes import ReadBox
from carnet_cloud.catalogue import Catalogue
from carnet_cloud.event import Payload, Piece, event_id, pack, pseudonym
from carnet_cloud.gate import Blocked, Sender, Standing
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.intake import Arrived
from carnet_cloud.store import Transaction
from carnet_cloud.store.outbox import Delivery, Queued
from carnet_cloud.timing import UNSURE_MS_MAX
from carnet_cloud.wrapping import KEY_BYTES, Wrapping, seal

Interval = tuple[NDArray[np.int64], NDArray[np.int64]]


class TimeUnknown(Exception):
    """The envelope has to wait: its capture times cannot be told, or a better clock may still decide them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What of one box one record may have."""

    piece: Piece
    counts: Counter[str]
    first_ms: int
    last_ms: int


class Enqueuer:
    """Turns read boxes into events of the outbox, inside the receiver's transaction."""

    def __init__(
        self,
        book: GrantBook,
        catalogue: Catalogue,
        wrapping: Wrapping,
        pseudonym_secret: bytes,
        random: Callable[[int], bytes],
    ) -> None:
        self._book = book
        self._catalogue = catalogue
        self._wrapping = wrapping
        self._pseudonym_secret = pseudonym_secret
        self._random = random

    def enqueue(
        self, t: Transaction, arrived: Arrived, boxes: Sequence[ReadBox], anchor: Anchor, received_ms: int, now_ms: int
    ) -> int:
        """The number of events made. Raises TimeUnknown before anything was written."""
        device = arrived.device
        sender = Sender(device.tenant, device_text(device.vehicle), device.epoch)
        whens = [self._intervals(box, anchor, received_ms) for box in boxes]
        kept: dict[str, list[Kept]] = {}
        blocked: Counter[tuple[str, str, Blocked]] = Counter()
        standings: dict[str, Standing] = {}
        for box, when in zip(boxes, whens, strict=True):
            for record in (format_id(RECORD, each) for each in box.prelude.records):
                standing = self._book.standing(t, record)
                refused = gate.may_take(standing, sender, box.prelude.epoch, now_ms)
                if refused is not None or standing is None:
                    blocked.update(
                        {
                            (record, c.path, refused or Blocked.OWNER): len(v)
                            for c, v in zip(box.batch.schema.columns, box.batch.values, strict=True)
                        }
                    )
                    continue
                standings[record] = standing
                part = self._judge(t, device.device, box, when, standing, anchor, blocked)
                if part is not None:
                    kept.setdefault(record, []).append(part)
        for (record, path, reason), samples in sorted(blocked.items()):
            t.blocks.add(device.vehicle, record, path, reason.value, samples, now_ms)
            t.counters.add(f"blocked_{reason.value}", samples)
        for record, parts in sorted(kept.items()):
            self._add(t, arrived, standings[record], parts, received_ms, now_ms)
        return len(kept)

    def _intervals(self, box: ReadBox, anchor: Anchor, received_ms: int) -> list[Interval]:
        """Per group of the box the earliest and latest wall time of every row."""
        found = []
        for times in box.batch.times:
            interval = intervals(box.prelude.boot_id, times, [anchor], received_ms)
            if isinstance(interval, Unresolved):
                raise TimeUnknown(interval.value)
            found.append(interval)
        return found

    def _judge(
        self,
        t: Transaction,
        device: bytes,
        box: ReadBox,
        when: list[Interval],
        standing: Standing,
        anchor: Anchor,
        blocked: Counter[tuple[str, str, Blocked]],
    ) -> Kept | None:
        """What the record may have of this box; what it may not is added to ``blocked``."""
        grant, batch = standing.grant, box.batch
        inside = [gate.captured_inside(grant, *interval) for interval in when]
        for interval in when:
            unsure = gate.unsure(grant, *interval)
            if unsure.any() and (interval[1] - interval[0])[unsure].max() > UNSURE_MS_MAX:
                raise TimeUnknown("unsure")
        whole = [bool(mask.all()) for mask in inside]
        chosen: list[int] = []
        counts: Counter[str] = Counter()
        for number, column in enumerate(batch.schema.columns):
            samples = len(batch.values[number])
            refused = gate.may_hold(grant, column, self._catalogue.get(column.path))
            if refused is not None:
                blocked[grant.record_id, column.path, refused] += samples
                continue
            count = samples if whole[column.group] else int(inside[column.group].sum())
            if count < samples:
                blocked[grant.record_id, column.path, Blocked.TIME] += samples - count
            if count:
                chosen.append(number)
                counts[column.path] += count
        if not chosen:
            return None
        if len(chosen) == len(batch.values) and all(whole):
            piece = Piece(box.prelude.schema_hash, box.body, anchor)
        else:
            piece = _cut_out(t, device, batch, chosen, inside, anchor)
        groups = sorted({batch.schema.columns[number].group for number in chosen})
        first = min(int(when[g][0][inside[g]].min()) for g in groups)
        last = max(int(when[g][1][inside[g]].max()) for g in groups)
        return Kept(piece, counts, first, last)

    def _add(
        self, t: Transaction, arrived: Arrived, standing: Standing, parts: list[Kept], received_ms: int, now_ms: int
    ) -> None:
        """Seal one event under its record's key and put it into the outbox."""
        grant, device = standing.grant, arrived.device
        name = event_id(*arrived.key, grant.record_id, grant.recipient)
        payload = pack(
            Payload(
                event_id=name,
                record=grant.record_id,
                generation=t.consents.generation(device.vehicle, device.epoch),
                reference=grant.reference,
                subject=pseudonym(device.vehicle, grant.recipient, self._pseudonym_secret),
                source=f"urn:carnet:{device.tenant}",
                receipt_ms=received_ms,
                pieces=tuple(part.piece for part in parts),
            )
        )
        counts = sum((part.counts for part in parts), Counter[str]())
        delivery = Delivery(
            event_id=name,
            record=grant.record_id,
            recipient=grant.recipient,
            generation=t.consents.generation(device.vehicle, device.epoch),
            samples=counts.total(),
            counts=canonical.encode(dict(counts)).decode(),
            first_ms=min(part.first_ms for part in parts),
            last_ms=max(part.last_ms for part in parts),
            size_bytes=len(payload),
            outcome="queued",
            time_ms=now_ms,
        )
        sealed = seal(payload, self._key(t, grant.record_id, grant.recipient), name, self._random)
        queued = Queued(name, grant.record_id, grant.recipient, delivery.generation, now_ms, sealed, 0)
        if t.outbox.add(queued, delivery, now_ms + grant.replay_ms):
            t.counters.add("events_enqueued")

    def _key(self, t: Transaction, record: str, recipient: str) -> bytes:
        """The key of (record, recipient), made when the first event needs it."""
        wrapped = t.outbox.key(record, recipient)
        key = self._wrapping.unwrap(*wrapped) if wrapped else None
        if key is None:
            key = self._random(KEY_BYTES)
            t.outbox.set_key(record, recipient, *self._wrapping.wrap(key))
        return key


def _cut_out(
    t: Transaction, device: bytes, batch: Batch, chosen: list[int], inside: list[NDArray[np.bool_]], anchor: Anchor
) -> Piece:
    """A piece with only the chosen columns and only the rows that lie inside the grant."""
    groups = sorted({batch.schema.columns[number].group for number in chosen})
    renumbered = {old: new for new, old in enumerate(groups)}
    columns = tuple(_in_group(batch.schema.columns[number], renumbered) for number in chosen)
    schema = Schema(columns)
    t.streams.add_schema(device, schema.hash, schema.document)
    times = tuple(batch.times[group][inside[group]] for group in groups)
    values = tuple(batch.values[number][inside[batch.schema.columns[number].group]] for number in chosen)
    return Piece(schema.hash, encode(Batch(schema, times, values)), anchor)


def _in_group(column: Column, renumbered: dict[int, int]) -> Column:
    return replace(column, group=renumbered[column.group])
