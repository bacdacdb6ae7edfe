"""Judge the columns of an envelope and put what may leave into the outbox: one event per (envelope, record).

Law 1 and 6: what the gate does not allow is dropped here and counted with its reason; what it allows is sealed under
the key of its record before it touches the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from carnet.errors import UnavailableError
from carnet.grants import Grant
from carnet.ids import RECORD, device_text, format_id
from carnet.schema import Schema
from carnet.times import Anchor
from carnet_cloud import gate
from carnet_cloud.boxes import DataBox
from carnet_cloud.catalogue import Catalogue
from carnet_cloud.event import Payload, event_id, pack, pseudonym
from carnet_cloud.gate import Blocked, Sender, Standing
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.intake import Arrived
from carnet_cloud.judging import Kept, Withheld, candidate
from carnet_cloud.spans import Tally, write
from carnet_cloud.store import Transaction
from carnet_cloud.store.outbox import Delivery, Queued
from carnet_cloud.wrapping import KEY_BYTES, Wrapping, seal


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
        sender = Sender(device.tenant, _vehicle_text(device.vehicle), device.epoch)
        candidates = [candidate(box, anchor, received_ms) for box in boxes]
        kept: dict[str, list[Kept]] = {}
        withheld: Withheld = Counter()
        for box, each in zip(boxes, candidates, strict=True):
            for record in map(_record_text, box.prelude.records):
                standing = self._taking(record, sender, box, now_ms, withheld)
                if standing is None:
                    continue
                part = each.judge(standing, self._column_refusals(standing, box.schema), withheld)
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
        tally = Tally.together([part.tally for part in parts])
        delivery = Delivery(
            event_id=name,
            record=grant.record_id,
            recipient=grant.recipient,
            generation=generation,
            samples=tally.samples,
            counts=write(tally),
            first_ms=tally.first_ms,
            last_ms=tally.last_ms,
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


@lru_cache(maxsize=65_536)
def _vehicle_text(vehicle: bytes) -> str:
    return device_text(vehicle)
