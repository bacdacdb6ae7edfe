"""Streams of sealed envelopes in SQLite: numbered, chained and signed in the transaction that makes them sendable."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain

from carnet.ack import NO_HASH, Ack
from carnet.envelope import NO_PREVIOUS, Header, parse_envelope, sign_envelope
from carnet.envelopetype import EnvelopeType
from carnet.keys import SigningKey
from carnet.note import DestructionReason
from carnet_agent.buffer.destruction import by_row, destroy_boxes, forget_destroyed, is_named, next_destroyed, places_of
from carnet_agent.buffer.disk import Disk
from carnet_agent.buffer.gaps import add_gap, gaps, remove_gaps
from carnet_agent.buffer.plausible import drop_implausible
from carnet_agent.buffer.rows import Destroyed, Dropped, Lost, NewBox, NewEnvelope, Priority, Row, Saved
from carnet_agent.buffer.salvage import Salvages
from carnet_agent.buffer.schemas import drop_unused, find, hashes, keep, rows_naming
from carnet_agent.buffer.sealed import SealedCounts
from carnet_agent.buffer.unproven import Unproven
from carnet_agent.buffer.vouching import Vouching

CUT_BYTES = 8
STREAM_BYTES = 8
SEQ_BYTES = 8
_TABLES = ("row", "box", "checkpoint", "schema", "gap", "destroyed")
_ROW = "select number, stream, seq, type, priority, samples, envelope from row "


class Buffer:
    """The buffer over a configured connection (`tables.configure`); nobody else has the file open.

    ``key`` signs for ``device``. Every public method that changes something is one transaction, so one fsync. What
    writes evicts when the cap is reached; BufferFull when that does not help.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        device: bytes,
        key: SigningKey,
        random: Callable[[int], bytes],
        discard_remains: Callable[[], None] = lambda: None,
    ) -> None:
        self._disk = Disk(connection)
        self._db = connection
        self.unproven = Unproven(self._disk, self.manifest)
        self.salvages = Salvages(self._disk, self.unproven)
        self.sealed = SealedCounts(self._disk)
        self.vouching = Vouching(connection, device, key)
        self._device = device
        self._key = key
        self._random = random
        self.discard_remains = discard_remains
        """Delete what was put aside of a damaged file (`remains`): nobody can destroy single boxes of it."""
        self._is_offering = False
        if self._disk.meta("stream") is None:
            with self._disk.transaction():
                self._begin_stream(b"")

    # where the chain stands

    @property
    def stream(self) -> bytes:
        """The stream that new rows go into."""
        value = self._disk.meta("stream")
        assert value is not None
        return value

    @property
    def previous_stream(self) -> bytes:
        """The stream that this one replaced; empty if there was none."""
        return self._disk.meta("previous") or b""

    @property
    def asking(self) -> bytes:
        """The stream of which the cloud has to tell first what it has: one that was saved, or at last our own."""
        return next(iter(self.unproven.all()), self.stream)

    @property
    def last_seq(self) -> int:
        return int.from_bytes(self._disk.meta("last_seq") or b"", "big")

    @property
    def head(self) -> bytes:
        """Manifest hash of the last envelope; zeros before the first."""
        return self._disk.meta("head") or NO_PREVIOUS

    @property
    def offered(self) -> tuple[int, bytes]:
        """The last number that may ever have been sent, with its manifest hash; beyond it nobody saw anything."""
        value = self._disk.meta("offered") or b""
        return int.from_bytes(value[:SEQ_BYTES], "big"), value[SEQ_BYTES:] or NO_PREVIOUS

    def offer(self) -> None:
        """The cloud agrees with the chain: from now on every number may be sent, and that is on disk before it is."""
        if self.offered[0] != self.last_seq:
            self._disk.with_room(lambda: self._set_offered(self.last_seq, self.head))
        self._is_offering = True

    def manifest(self, stream: bytes, seq: int) -> bytes | None:
        """Manifest hash of an envelope that is still here and whole, or whose follower is; None if neither is."""
        if (stream, seq) == (self.stream, self.last_seq):
            return self.head
        own, follower = (self.vouching.envelope(stream, each) for each in (seq, seq + 1))
        return own.manifest_hash if own else follower.header.prev if follower else None

    def differs(self, ack: Ack) -> bool:
        """Whether the cloud has another envelope than we have under the number that its watermark names."""
        ours = self.manifest(ack.stream, ack.watermark)
        return ours is not None and NO_HASH not in {ack.head, ours} and ack.head != ours

    # writing

    def add(self, kind: EnvelopeType, priority: Priority, cut: bytes, boxes: Sequence[NewBox]) -> int:
        """Number, chain, sign and store one envelope; its number."""
        return self.add_all([NewEnvelope(kind, priority, cut, tuple(boxes))])[-1]

    def add_all(
        self,
        envelopes: Sequence[NewEnvelope],
        *,
        schemas: Mapping[bytes, bytes] | None = None,
        replaces: Collection[Priority] = (),
        day: str = "",
    ) -> list[int]:
        """The envelopes of one window, sealed on ``day``, together; their numbers.

        ``schemas``: documents to keep, by hash. ``replaces``: priorities whose checkpoints are in the envelopes now.
        """

        def write() -> list[int]:
            keep(self._db, schemas or {})
            self._db.executemany("delete from checkpoint where priority = ?", [(int(each),) for each in replaces])
            self.sealed.count(envelopes, day)
            return [self._insert(each) for each in envelopes]

        return self._disk.with_room(write)

    def checkpoint(self, envelopes: Sequence[NewEnvelope]) -> None:
        """Keep boxes of the open window, without a number; never sent as they are.

        One box each, so that the end of one box's grants leaves the others in the place for which they were sealed.
        """
        assert all(len(each.boxes) == 1 for each in envelopes)
        boxes = [(each, each.boxes[0]) for each in envelopes]
        rows = [(e.cut, b.handle, b.kid, int(e.priority), b.samples, b.schema, b.box) for e, b in boxes]
        query = "insert into checkpoint (cut, handle, kid, priority, samples, schema, box) values (?, ?, ?, ?, ?, ?, ?)"
        self._disk.with_room(lambda: self._db.executemany(query, rows))

    def promote(self) -> int:
        """Make envelopes of the checkpoints that a crash left; how many. Called once, before the first window.

        What the disk has made of the small tables and nobody can have written goes first (`plausible`), counted.
        """

        def write() -> int:
            query = "select priority, cut, kid, box, handle, samples, schema from checkpoint order by number"
            rows = self._db.execute(query).fetchall()
            self._db.execute("delete from checkpoint")
            new = [NewEnvelope(EnvelopeType.DATA, Priority(row[0]), row[1], (NewBox(*row[2:]),)) for row in rows]
            self.sealed.count(new, "")
            return len([self._insert(each) for each in new])

        with self._disk.transaction():
            self._disk.corrupt_rows += drop_implausible(self._db)
        return self._disk.with_room(write)

    def add_gap_row(self, seal: Callable[[bytes, Sequence[Lost]], NewBox], limit: int = 256) -> int | None:
        """Turn ranges of one stream that were lost into one gap envelope; its number, or None if nothing was lost."""
        ranges = gaps(self._db, limit)
        if not ranges:
            return None
        cut = self._random(CUT_BYTES)
        box = seal(cut, ranges)

        def write() -> int:
            remove_gaps(self._db, ranges)
            return self._insert(NewEnvelope(EnvelopeType.GAP, Priority.KEEP, cut, (box,)))

        return self._disk.with_room(write)

    def reject(self, stream: bytes, seq: int, manifest: bytes, reason: str) -> int | None:
        """This very envelope will never be taken: drop the row, name the gap. Its number, None if it is not here."""
        row = self._db.execute(
            "select number, samples from row where stream = ? and seq = ? and manifest = ?", (stream, seq, manifest)
        ).fetchone()
        if row is None:
            return None
        with self._disk.transaction():
            self._disk.remove([row[0]])
            add_gap(self._db, stream, seq, reason, row[1])
        return int(row[0])

    def give_up(self, rows: Sequence[Dropped]) -> list[int]:
        """The disk has damaged what nobody can take without: rows become gaps ``corrupt``; their numbers."""
        if rows:
            with self._disk.transaction():
                lost = self._disk.give_up(rows, "corrupt")
            self._disk.corrupt_rows += len(lost)
        return [row[0] for row in rows]

    def give_up_schema(self, digest: bytes) -> list[int]:
        """The document of a schema is gone, so nobody can ever read what names it."""
        return self.give_up(rows_naming(self._db, digest))

    # sending and acknowledging

    def to_send(self, priority: Priority, without: Collection[int], limit: int) -> list[Row]:
        """The oldest rows of a priority that wait for an acknowledgement, but for the numbers ``without``."""
        if limit <= 0:
            return []
        rows = self._db.execute(
            _ROW + "where acked = 0 and priority = ? order by number limit ?",
            (int(priority), limit + len(without) + len(self._disk.acked)),
        )
        return [Row(*row) for row in rows if row[0] not in self._disk.acked and row[0] not in without][:limit]

    def row(self, number: int) -> Row | None:
        row = self._db.execute(_ROW + "where number = ?", (number,)).fetchone()
        return Row(*row) if row else None

    def knows(self, stream: bytes) -> bool:
        """Whether it is the open stream, the one that is asked for, or another one of which a row is still here."""
        query = "select 1 from row where stream = ? limit 1"
        return stream in {self.stream, self.asking} or self._db.execute(query, (stream,)).fetchone() is not None

    def acknowledge(self, stream: bytes, ranges: Iterable[tuple[int, int]]) -> set[int]:
        """Note what the cloud has (row numbers); written in the next row's transaction, at no fsync of its own."""
        found: set[int] = set()
        for first, last in ranges:
            rows = self._db.execute(
                "select number from row where stream = ? and seq between ? and ? and acked = 0", (stream, first, last)
            )
            found.update(row[0] for row in rows)
        self._disk.note(found)
        return found

    def write_acknowledged(self) -> None:
        """Write the noted acknowledgements now."""
        self._disk.write_noted()

    def reopen(self, stream: bytes, watermark: int) -> int:
        """A restored cloud knows less than it once signed: rows above its watermark that are still here go again."""
        rows_noted = filter(None, map(self.row, sorted(self._disk.acked)))
        noted = [row.number for row in rows_noted if row.stream == stream and row.seq > watermark]
        self._disk.acked.difference_update(noted)
        rows = self._db.execute(
            "select number from row where stream = ? and seq > ? and acked = 1 order by number", (stream, watermark)
        ).fetchall()
        if rows:
            with self._disk.transaction():
                self._db.executemany("update row set acked = 0 where number = ?", rows)
        return len(noted) + len(rows)

    # ends

    def destroy(self, handles: Iterable[bytes], generation: int, reason: DestructionReason) -> int:
        """Replace boxes of these handles by notes, checkpoints included; how many boxes. Then the log is emptied.

        In some rows only (`destruction.ROWS_AT_ONCE`): call again for as long as `names` one of them. What went is
        remembered until `add_receipt_row` has reported it.
        """
        places = places_of(self._db, sorted(set(handles)))
        # no note fits into these
        given_up = self.give_up(self.vouching.unreadable(by_row(chain.from_iterable(places.values()))))
        with self._disk.transaction():
            count = 0
            for handle, found in places.items():
                readable = [each for each in found if each[0] not in given_up]
                count += destroy_boxes(self._db, self._key, handle, readable, generation, reason)
        if count or given_up:
            self.scrub()
        return count

    def names(self, handles: Iterable[bytes]) -> bool:
        """Whether a row still has a box of one of these handles."""
        return any(is_named(self._db, each) for each in handles)

    def add_receipt_row(self, seal: Callable[[bytes, Destroyed], NewBox | None]) -> bool:
        """Turn one destruction into its receipt; False if there is none to report.

        ``seal`` gives None for a handle that stands for nobody: then it is only forgotten.
        """
        destroyed = next_destroyed(self._db)
        if destroyed is None:
            return False
        # a crash may have come between the destruction and the emptying of the log
        self.scrub()
        cut = self._random(CUT_BYTES)
        box = seal(cut, destroyed)

        def write() -> None:
            forget_destroyed(self._db, destroyed.handle)
            if box is not None:
                self._insert(NewEnvelope(EnvelopeType.DESTRUCTION_RECEIPT, Priority.KEEP, cut, (box,)))

        self._disk.with_room(write)
        return True

    def handles(self) -> set[bytes]:
        """Every handle that still names a readable box."""
        # each once, and only then in order: to sort a union in one go SQLite takes all boxes into memory
        query = "select handle from (select handle from box union select handle from checkpoint) order by 1"
        return {bytes(row[0]) for row in self._db.execute(query)}

    def unreported(self) -> set[bytes]:
        """Every handle whose destruction has no receipt yet."""
        return {bytes(row[0]) for row in self._db.execute("select handle from destroyed order by handle")}

    def wipe(self) -> None:
        """Forget everything and begin a new stream: the tenure of the owner has ended."""
        with self._disk.transaction():
            for table in _TABLES:
                self._db.execute("delete from " + table)
            self.sealed.wipe()
            self.unproven.wipe()
            self._begin_stream(b"")
        self.scrub()

    def new_stream(self) -> int:
        """Begin a new stream: the old one conflicts with what the cloud has. How many samples are lost by that.

        Rows that nobody confirmed become a gap ``rolled_back``. Checkpoints were sealed for the old stream and go too.
        """
        old = self.stream
        with self._disk.transaction():
            rows = self._db.execute("select number, seq, acked, samples from row where stream = ? order by seq", (old,))
            found = rows.fetchall()
            lost = [row for row in found if not row[2]]
            for _, seq, _, samples in lost:
                add_gap(self._db, old, seq, "rolled_back", samples)
            self._disk.remove([row[0] for row in found])
            kept = self._db.execute("select coalesce(sum(samples), 0) from checkpoint").fetchone()[0]
            self._db.execute("delete from checkpoint")
            self._begin_stream(old)
        return sum(int(row[3]) for row in lost) + int(kept)

    def scrub(self) -> None:
        """Empty the write-ahead log: after a DELETE the bytes would still be in it (measured)."""
        self._db.execute("pragma wal_checkpoint(truncate)").fetchone()

    # schemas

    def schema(self, digest: bytes) -> bytes | None:
        return find(self._db, digest)

    def schema_hashes(self) -> list[bytes]:
        return hashes(self._db)

    def drop_unused_schemas(self) -> None:
        """Forget schemas that no row and no checkpoint names."""
        self._disk.with_room(lambda: drop_unused(self._db))

    def counts(self) -> dict[str, int]:
        """Rows, samples, bytes and loss, for status and health."""
        return self._disk.counts()

    # a corrupt file's remains

    def adopt(self, saved: Iterable[Saved], schemas: Mapping[bytes, bytes], number: int) -> int:
        """Take over rows that were saved from corrupt files, numbers missing between them as a gap; how many rows.

        ``number``: of the last file that was put aside; it and those before it are done with.
        """
        return self.salvages.take_up(saved, schemas, number)

    # inside

    def _begin_stream(self, previous: bytes) -> None:
        self._disk.set_meta("stream", self._random(STREAM_BYTES))
        self._disk.set_meta("previous", previous)
        self._disk.set_meta("last_seq", b"")
        self._disk.set_meta("head", NO_PREVIOUS)
        self._disk.set_meta("offered", b"")
        self._is_offering = False
        self._disk.acked.clear()

    def _insert(self, new: NewEnvelope) -> int:
        stream, seq = self.stream, self.last_seq + 1
        header = Header(new.type, self._device, stream, seq, new.cut, self._key.kid, self.head)
        data = sign_envelope(header, [(box.kid, box.box) for box in new.boxes], self._key)
        manifest = parse_envelope(data).manifest_hash
        samples = sum(box.samples for box in new.boxes)
        number = self._disk.store(stream, seq, new.type, new.priority, samples, manifest, data)
        if new.type is EnvelopeType.DATA:
            self._db.executemany(
                "insert into box values (?, ?, ?, ?, ?)",
                [(number, index, box.handle, box.samples, box.schema) for index, box in enumerate(new.boxes)],
            )
        self._disk.set_meta("last_seq", seq.to_bytes(SEQ_BYTES, "big"))
        self._disk.set_meta("head", manifest)
        if self._is_offering:
            self._set_offered(seq, manifest)
        return seq

    def _set_offered(self, seq: int, manifest: bytes) -> None:
        self._disk.set_meta("offered", seq.to_bytes(SEQ_BYTES, "big") + manifest if seq else b"")
