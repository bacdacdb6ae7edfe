"""Everything that leaves: windows, checkpoints and reports into the buffer, and rows of the buffer to the broker.

Law 4: only sealed bytes reach the buffer. Law 5: a loss is counted where it happens, and named to the cloud.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from carnet import hashes
from carnet.bodies import COUNTERS_MAX, SCHEMAS_MAX, CheckIn, DestructionReceipt, Gap, GapRange, Health, SchemaBody
from carnet.box import UNCERTAINTY_UNKNOWN, WALL_UNKNOWN, Prelude
from carnet.envelopetype import EnvelopeType
from carnet.ids import RECORD, format_id
from carnet.keyset import KeySet
from carnet.note import DestructionReason
from carnet.signals import DeliveryClass
from carnet.times import claimed_anchor
from carnet_agent.buffer import Buffer, BufferFull, Destroyed, DiskFailed, Lost, NewBox, Priority, Row
from carnet_agent.clock import Clock
from carnet_agent.consent.store import GrantStore
from carnet_agent.effects import Note, Publish
from carnet_agent.moment import Moment
from carnet_agent.sending import unitledger
from carnet_agent.sending.sealer import PRIORITY, Cut, Seal, Sealer, schemas_of
from carnet_agent.sending.sender import Sender
from carnet_agent.sending.trimming import trim

CutT = TypeVar("CutT", bound=Cut)
SCHEMA_AGAIN_MS = 60_000
LOSSES: Mapping[str, str] = {"full": "is full", "disk": "takes nothing"}
"""Counter of lost samples -> what is wrong with the disk."""
KINDS: Mapping[type[Exception], str] = {BufferFull: "full", DiskFailed: "disk"}
"""How a counter names what the disk did."""


class Outgoing:
    """Writes with what the grant store and the clock say at that moment; publishes what `Sender` lets through."""

    def __init__(self, buffer: Buffer, sealer: Sealer, store: GrantStore, clock: Clock, cloud: KeySet) -> None:
        self._buffer = buffer
        self._sealer = sealer
        self._store = store
        self._clock = clock
        self.cloud = cloud
        """The key set in force."""
        self.sender = Sender()
        self.counters: Counter[str] = Counter()
        self.untimed = False
        """A window was sealed that does not say what time it was."""
        self._losses_said: set[str] = set()
        self._schemas_sent: dict[bytes, int] = {}
        """Hash of a schema that the cloud has asked for -> when it was sent."""
        self.stirred = True
        """Rows may have come or been freed since the last `publish`."""
        self.dying = False
        """Boxes of records that have ended are still here: until `destroy_dead` has got rid of all, nothing leaves."""

    def anew(self) -> None:
        """A connection has begun or ended: whatever was on its way is forgotten."""
        self.sender.forget()
        self._schemas_sent.clear()
        self.stirred = True

    # into the buffer

    def window(
        self, cuts: Sequence[Cut], classes: Collection[DeliveryClass], moment: Moment, generation: int | None = None
    ) -> None:
        """Store a closed window, in place of its classes' checkpoints. ``generation``: if not the one in force."""
        if not cuts:
            return
        seal = self.seal(moment, generation)
        self.untimed |= claimed_anchor(seal.prelude) is None
        cuts = self._trimmed(cuts, seal)
        try:
            self._announce(schemas_of(cuts), seal)
            day, kinds = unitledger.day_of(seal.prelude.wall_ms), {PRIORITY[each] for each in classes}
            self._buffer.add_all(self._sealer.window(cuts, seal), replaces=kinds, day=day)
        except (BufferFull, DiskFailed) as error:
            self.counters[f"samples_lost_{KINDS[type(error)]}"] += sum(cut.batch.samples for cut in cuts)
        self.stirred = True

    def checkpoint(self, cuts: Sequence[Cut], moment: Moment) -> None:
        """Keep what came since the last checkpoint; when the disk is full the open window is all that there is."""
        if not cuts:
            return
        seal = self.seal(moment)
        cuts = self._trimmed(cuts, seal, is_last=False)
        try:
            self._announce(schemas_of(cuts), seal)
            self._buffer.checkpoint(self._sealer.checkpoint(cuts, seal))
        except (BufferFull, DiskFailed) as error:
            self.counters[f"checkpoints_{KINDS[type(error)]}"] += 1

    def health(self, counters: Mapping[str, int], moment: Moment) -> None:
        """Report how the unit is; of more counters than a report holds (a cloud may invent reasons) the first ones.

        Schemas that nothing names any more go on this occasion.
        """
        with contextlib.suppress(BufferFull, DiskFailed):
            self._buffer.drop_unused_schemas()
        first = dict(sorted(counters.items())[:COUNTERS_MAX])
        self._add(EnvelopeType.CHECK_IN_OR_HEALTH, Health(first).encode(), moment)

    def schemas(self, wanted: Iterable[bytes], moment: Moment) -> None:
        """Send schemas that the cloud has asked for; rows whose schema is lost can never be read and are given up.

        Every row that comes before its schema makes the cloud ask, so each goes once in a while; not once for all, for
        a cloud may be restored to before it had them.
        """
        for digest in wanted:
            if moment.boot_ms - self._schemas_sent.get(digest, -SCHEMA_AGAIN_MS) < SCHEMA_AGAIN_MS:
                continue
            self._schemas_sent[digest] = moment.boot_ms
            document = self._document(digest)
            if document is None:
                self.sender.settled(self._buffer.give_up_schema(digest))
                self.stirred = True
            else:
                self._add(EnvelopeType.SCHEMA, SchemaBody(document).encode(), moment)

    def gaps(self, moment: Moment) -> None:
        """Name to the cloud every number that will never come."""
        seal = self.seal(moment)

        def lid(cut: bytes, lost: Sequence[Lost]) -> NewBox:
            ranges = tuple(GapRange(each.first, each.last, each.reason, each.samples) for each in lost)
            return self._sealer.body(EnvelopeType.GAP, cut, Gap(lost[0].stream, ranges).encode(), seal)

        try:
            while self._buffer.add_gap_row(lid) is not None:
                self.stirred = True
        except (BufferFull, DiskFailed) as error:
            self.counters[f"reports_{KINDS[type(error)]}"] += 1

    def destroy_dead(self, moment: Moment) -> None:
        """Destroy boxes whose records have all ended, and put the receipts into the stream once all are gone.

        Of very many boxes it destroys some and says by `dying` that it has to be called again.
        What was put aside of a damaged buffer goes first and whole: before a receipt says that nothing is left, and
        whenever it is not sure that everything in it still belongs to somebody.
        """
        living = self._store.living(self._clock.earliest_ms(moment))
        gone = self._store.dead_handles(living)
        # a handle that the store does not know stands for nobody
        dead = sorted(one for one in self._buffer.handles() if not living.intersection(self._store.records_of(one)))
        if gone or not living:
            self._buffer.discard_remains()
        if dead:
            count = self._buffer.destroy(dead, self._store.generation, DestructionReason.ENDED)
            self.counters["boxes_destroyed"] += count
        self.dying = self._buffer.names(dead)
        if self.dying:
            return
        if self._buffer.unreported():
            self._receipts(moment)
        # by the floor: one word far ahead must not make the car forget what it sealed
        unitledger.keep(
            self._buffer, self._store, gone - self._buffer.unreported(), self._clock.floor.at(moment).firm_ms
        )

    def living(self, cuts: Sequence[CutT], moment: Moment) -> list[CutT]:
        """The cuts of which at least one record has not ended; of the others nothing is kept."""
        living = self._store.living(self._clock.earliest_ms(moment))
        kept = [cut for cut in cuts if living.intersection(cut.records)]
        self.counters["samples_ended"] += sum(cut.batch.samples for cut in cuts) - sum(c.batch.samples for c in kept)
        return kept

    # to the broker

    def check_in(self, nonce: bytes, moment: Moment) -> Publish:
        """What this unit has of its stream, or of one that was saved and is to be asked for first, under a nonce."""
        stream = self._buffer.asking
        body = CheckIn(
            nonce,
            *(self._buffer.unproven.head(stream) or self._buffer.offered),
            self.cloud.version,
            tuple(self._buffer.schema_hashes()[:SCHEMAS_MAX]),
            self._store.mode.value,
            self._buffer.previous_stream,
        )
        return Publish(self._sealer.check_in(body.encode(), replace(self.seal(moment), stream=stream)))

    def publish(self, moment: Moment) -> list[Publish]:
        """Rows whose time has come: those without an answer, then new ones, the most important and oldest first."""
        if self.dying or (not self.stirred and self.sender.next_ms > moment.boot_ms):
            return []
        if self.stirred:
            self.gaps(moment)
        self.stirred = False
        again = self._again(moment)
        rows = list(again)
        for priority in Priority:
            data = priority is not Priority.KEEP
            new = self._buffer.to_send(priority, self.sender.flying, self.sender.room(data=data))
            for row in filter(self._is_whole, new):
                self.sender.sent(row.number, moment.boot_ms, data=data)
                rows.append(row)
        for row in again:
            self.sender.sent(row.number, moment.boot_ms, data=row.priority != Priority.KEEP)
        return [Publish(row.envelope) for row in rows]

    def seal(self, moment: Moment, generation: int | None = None) -> Seal:
        """What boxes sealed now have in common."""
        wall_ms, uncertainty_ms = self._clock.wall(moment) or (WALL_UNKNOWN, UNCERTAINTY_UNKNOWN)
        prelude = Prelude(
            self._store.epoch,
            self._store.generation if generation is None else generation,
            moment.boot_id,
            moment.boot_ms,
            wall_ms,
            uncertainty_ms,
            log_size=self._store.log_head.size,
        )
        return Seal(self._buffer.stream, self.cloud.sealing_key, prelude)

    def losses(self) -> list[Note]:
        """A disk that takes nothing more is said when it begins; how much is lost, the counter tells."""
        new = [kind for kind in LOSSES if self.counters[f"samples_lost_{kind}"] and kind not in self._losses_said]
        self._losses_said.update(new)
        words = "what is collected now is lost and counted as samples lost"
        return [
            Note("warning", f"the disk {what}: {words} {kind}", "samples_lost", kind)
            for kind, what in LOSSES.items()
            if kind in new
        ]

    # inside

    def _again(self, moment: Moment) -> list[Row]:
        """Rows on their way whose answer is overdue."""
        rows = []
        for number in self.sender.due(moment.boot_ms):
            row = self._buffer.row(number)
            if row is None:
                # evicted meanwhile; a gap names it
                self.sender.settled([number])
            elif self._is_whole(row):
                rows.append(row)
        return rows

    def _is_whole(self, row: Row) -> bool:
        """Whether the row may go; one that the disk has damaged nobody ever takes: it is given up and named as lost."""
        if self._buffer.vouching.holds(row):
            return True
        with contextlib.suppress(DiskFailed):
            self.sender.settled(self._buffer.give_up([(row.number, row.stream, row.seq, row.samples)]))
            self.stirred = True
        return False

    def _document(self, digest: bytes) -> bytes | None:
        """The document of a schema; one that the disk has damaged is as good as lost."""
        document = self._buffer.schema(digest)
        return document if document is not None and hashes.digest(hashes.SCHEMA, document) == digest else None

    def _trimmed(self, cuts: Sequence[Cut], seal: Seal, *, is_last: bool = True) -> list[Cut]:
        """Without what the cloud would have to cut out of boxes that it cannot read."""
        kept = trim(cuts, {grant.record_id: grant for grant in self._store.grants}, seal.prelude)
        if is_last:
            lost = sum(cut.batch.samples for cut in cuts) - sum(cut.batch.samples for cut in kept)
            self.counters["samples_outside"] += lost
        return kept

    def _announce(self, schemas: Mapping[bytes, bytes], seal: Seal) -> None:
        """A schema goes into the stream before the first box that names it."""
        new = {digest: document for digest, document in schemas.items() if self._document(digest) is None}
        if new:
            bodies = (SchemaBody(document).encode() for document in new.values())
            rows = [self._sealer.envelope(EnvelopeType.SCHEMA, body, seal) for body in bodies]
            self._buffer.add_all(rows, schemas=new)

    def _add(self, kind: EnvelopeType, body: bytes, moment: Moment) -> None:
        try:
            self._buffer.add_all([self._sealer.envelope(kind, body, self.seal(moment))])
        except (BufferFull, DiskFailed) as error:
            self.counters[f"reports_{KINDS[type(error)]}"] += 1
        self.stirred = True

    def _receipts(self, moment: Moment) -> None:
        seal = self.seal(moment)

        def lid(cut: bytes, one: Destroyed) -> NewBox | None:
            records = sorted(format_id(RECORD, record) for record in self._store.records_of(one.handle))
            if not records:
                return None
            receipt = DestructionReceipt(
                tuple(records), one.generation, DestructionReason(one.reason), one.boxes, one.rows, one.samples
            )
            return self._sealer.body(EnvelopeType.DESTRUCTION_RECEIPT, cut, receipt.encode(), seal)

        try:
            while self._buffer.add_receipt_row(lid):
                self.stirred = True
        except (BufferFull, DiskFailed) as error:
            self.counters[f"reports_{KINDS[type(error)]}"] += 1
