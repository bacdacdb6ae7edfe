"""One stream of sealed envelopes in SQLite: numbered, chained and signed in the transaction that makes them sendable."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from carnet.envelope import NO_PREVIOUS, Header, destroy, parse_envelope, sign_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import Error
from carnet.keys import SigningKey
from carnet.note import DestructionReason

from carnet_agent.buffer.gaps import add_gap, gaps, remove_gaps
from carnet_agent.buffer.rows import GapRange, NewBox, Priority, Row

T = TypeVar("T")

CUT_BYTES = 8
STREAM_BYTES = 8
EVICT_ROWS = 16
EVICT_TRIES = 64


class BufferFull(Error):
    """The cap is reached and nothing may be evicted: what was to be written is lost, and the caller counts it."""

    temporary = True


class Buffer:
    """The buffer over a configured connection (`tables.configure`); nobody else has the file open.

    ``key`` signs for ``device``; ``random`` gives random bytes. Every public method that changes something is one
    transaction, so one fsync.
    """

    def __init__(
        self, connection: sqlite3.Connection, device: bytes, key: SigningKey, random: Callable[[int], bytes]
    ) -> None:
        self._db = connection
        self._device = device
        self._key = key
        self._random = random
        self._acked: set[int] = set()
        self.evicted = 0
        if self._meta("stream") is None:
            self.new_stream()

    # where the chain stands

    @property
    def stream(self) -> bytes:
        value = self._meta("stream")
        assert value is not None
        return value

    @property
    def last_seq(self) -> int:
        return int.from_bytes(self._meta("last_seq") or b"", "big")

    @property
    def head(self) -> bytes:
        """Manifest hash of the last envelope; zeros before the first."""
        return self._meta("head") or NO_PREVIOUS

    def manifest(self, seq: int) -> bytes | None:
        """Manifest hash of an envelope that is still here."""
        row = self._db.execute("select manifest from row where seq = ?", (seq,)).fetchone()
        return bytes(row[0]) if row else None

    # writing

    def add(
        self, kind: EnvelopeType, priority: Priority, cut: bytes, boxes: Sequence[NewBox], *, final: bool = False
    ) -> int:
        """Number, chain, sign and store one envelope; its number. ``final`` drops the checkpoints it replaces.

        Evicts when the cap is reached; raises BufferFull when even that does not help.
        """
        return self._with_room(lambda: self._insert(kind, priority, cut, boxes, drop_checkpoints=final))

    def checkpoint(self, cut: bytes, priority: Priority, boxes: Sequence[NewBox]) -> None:
        """Keep boxes of the open window, without a number; never sent as they are."""

        def insert() -> None:
            self._db.executemany(
                "insert into checkpoint (cut, handle, kid, priority, samples, schema, box) values (?, ?, ?, ?, ?, ?, ?)",
                [(cut, b.handle, b.kid, int(priority), b.samples, b.schema, b.box) for b in boxes],
            )

        self._with_room(insert)

    def drop_checkpoints(self) -> None:
        with self._transaction():
            self._db.execute("delete from checkpoint")

    def promote(self) -> int:
        """Make envelopes of the checkpoints that a crash left; how many. Called once, before the first window."""
        cuts = [bytes(r[0]) for r in self._db.execute("select cut from checkpoint group by cut order by min(number)")]
        for cut in cuts:
            self._with_room(lambda cut=cut: self._promote(cut))  # type: ignore[misc]
        return len(cuts)

    def add_gap_row(self, seal: Callable[[bytes, Sequence[GapRange]], NewBox], limit: int = 256) -> int | None:
        """Turn the ranges that were lost into one gap envelope; its number, or None if nothing was lost."""
        ranges = gaps(self._db, limit)
        if not ranges:
            return None
        cut = self._random(CUT_BYTES)
        box = seal(cut, ranges)

        def insert() -> int:
            remove_gaps(self._db, ranges)
            return self._insert(EnvelopeType.GAP, Priority.KEEP, cut, [box])

        return self._with_room(insert)

    def reject(self, seq: int, reason: str) -> bool:
        """The cloud will never take this number: drop the row, name the gap. False if it is not here."""
        with self._transaction():
            return self._drop(seq, reason)

    # sending and acknowledging

    def to_send(self, after: int, limit: int) -> list[Row]:
        """Rows without an acknowledgement above ``after``, in the order of their numbers."""
        rows = self._db.execute(
            "select seq, type, priority, samples, envelope from row where seq > ? and acked = 0 order by seq limit ?",
            (after, limit + len(self._acked)),
        )
        return [Row(*row) for row in rows if row[0] not in self._acked][:limit]

    def row(self, seq: int) -> Row | None:
        row = self._db.execute(
            "select seq, type, priority, samples, envelope from row where seq = ?", (seq,)
        ).fetchone()
        return Row(*row) if row else None

    def acknowledge(self, ranges: Iterable[tuple[int, int]]) -> set[int]:
        """Note what the cloud has; written in the next row's transaction, so that it costs no fsync of its own."""
        found: set[int] = set()
        for first, last in ranges:
            rows = self._db.execute(
                "select seq from row where seq between ? and ? and acked = 0 order by seq", (first, last)
            )
            found.update(row[0] for row in rows)
        self._acked |= found
        return found

    def write_acknowledged(self) -> None:
        """Write the noted acknowledgements now (before a clean stop)."""
        if self._acked:
            with self._transaction():
                pass

    def reopen(self, watermark: int) -> int:
        """A restored cloud knows less than it once signed: rows above its watermark that are still here go again."""
        with self._transaction():
            self._acked = {seq for seq in self._acked if seq <= watermark}
            return self._db.execute("update row set acked = 0 where seq > ? and acked = 1", (watermark,)).rowcount

    # ends

    def destroy(self, handles: Iterable[bytes], generation: int, reason: DestructionReason) -> int:
        """Replace every box of these handles by a note, checkpoints included; how many boxes. Then the WAL is emptied."""
        dead = sorted(set(handles))
        count = 0
        with self._transaction():
            for handle in dead:
                places = self._db.execute(
                    "select seq, idx from box where handle = ? order by seq, idx", (handle,)
                ).fetchall()
                for seq, index in places:
                    self._destroy_box(seq, index, generation, reason)
                count += len(places)
                count += self._db.execute("delete from checkpoint where handle = ?", (handle,)).rowcount
        if count:
            self.scrub()
        return count

    def handles(self) -> set[bytes]:
        """Every handle that still names a readable box."""
        rows = self._db.execute("select handle from box union select handle from checkpoint order by 1")
        return {bytes(row[0]) for row in rows}

    def wipe(self) -> None:
        """Forget everything and begin a new stream: the tenure of the owner has ended."""
        with self._transaction():
            for table in ("row", "box", "checkpoint", "schema_use", "schema", "gap"):
                self._db.execute(f"delete from {table}")
            self._begin_stream()
        self.scrub()

    def new_stream(self) -> int:
        """Begin a new stream; rows of the old one that nobody confirmed are gone and counted (returned)."""
        with self._transaction():
            lost = self._db.execute(
                "select count(*) from row where acked = 0 and type = ?", (int(EnvelopeType.DATA),)
            ).fetchone()[0]
            for table in ("row", "box", "schema_use", "gap"):
                self._db.execute(f"delete from {table}")
            self._begin_stream()
        return int(lost)

    def scrub(self) -> None:
        """Empty the write-ahead log: after a DELETE the bytes would still be in it (measured)."""
        self._db.execute("pragma wal_checkpoint(truncate)").fetchone()

    # schemas

    def keep_schema(self, digest: bytes, document: bytes) -> None:
        if self.schema(digest) is None:
            self._with_room(
                lambda: self._db.execute("insert or ignore into schema values (?, ?)", (digest, document)) and None
            )

    def schema(self, digest: bytes) -> bytes | None:
        row = self._db.execute("select document from schema where hash = ?", (digest,)).fetchone()
        return bytes(row[0]) if row else None

    def schema_hashes(self) -> list[bytes]:
        return [bytes(row[0]) for row in self._db.execute("select hash from schema order by hash")]

    def drop_unused_schemas(self, keep: Iterable[bytes]) -> None:
        """Forget schemas that no row, no checkpoint and no open window (``keep``) names."""
        kept = set(keep)
        with self._transaction():
            used = {
                bytes(r[0]) for r in self._db.execute("select hash from schema_use union select schema from checkpoint")
            }
            for digest in self.schema_hashes():
                if digest not in used and digest not in kept:
                    self._db.execute("delete from schema where hash = ?", (digest,))

    # looking

    def counts(self) -> dict[str, int]:
        """Rows, samples, bytes and loss, for status and health."""
        rows, samples, size = self._db.execute(
            "select count(*), coalesce(sum(samples), 0), coalesce(sum(length(envelope)), 0) from row where acked = 0"
        ).fetchone()
        kept = self._db.execute("select count(*) from row where acked = 1").fetchone()[0]
        waiting = self._db.execute("select count(*) from checkpoint").fetchone()[0]
        return {
            "rows_waiting": rows - len(self._acked),
            "samples_waiting": samples,
            "bytes_waiting": size,
            "rows_acknowledged": kept + len(self._acked),
            "checkpoints": waiting,
            "rows_evicted": self.evicted,
        }

    # inside

    def _meta(self, name: str) -> bytes | None:
        row = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def _set_meta(self, name: str, value: bytes) -> None:
        self._db.execute("insert or replace into meta values (?, ?)", (name, value))

    def _begin_stream(self) -> None:
        self._set_meta("stream", self._random(STREAM_BYTES))
        self._set_meta("last_seq", b"")
        self._set_meta("head", NO_PREVIOUS)
        self._acked.clear()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE … COMMIT, with the noted acknowledgements in it; they stay noted if it fails."""
        self._db.execute("begin immediate")
        acked = sorted(self._acked)
        try:
            self._db.executemany("update row set acked = 1 where seq = ?", [(seq,) for seq in acked])
            yield
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
        self._acked.difference_update(acked)

    def _with_room(self, write: Callable[[], T]) -> T:
        for _ in range(EVICT_TRIES):
            try:
                with self._transaction():
                    return write()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
            if not self._evict():
                break
        raise BufferFull("buffer_full", "the buffer is full of what may not be evicted")

    def _insert(
        self,
        kind: EnvelopeType,
        priority: Priority,
        cut: bytes,
        boxes: Sequence[NewBox],
        *,
        drop_checkpoints: bool = False,
    ) -> int:
        seq = self.last_seq + 1
        header = Header(kind, self._device, self.stream, seq, cut, self._key.kid, self.head)
        data = sign_envelope(header, [(b.kid, b.box) for b in boxes], self._key)
        manifest = parse_envelope(data).manifest_hash
        samples = sum(b.samples for b in boxes)
        self._db.execute(
            "insert into row values (?, ?, ?, 0, ?, ?, ?)", (seq, int(kind), int(priority), samples, manifest, data)
        )
        if kind is EnvelopeType.DATA:
            self._db.executemany("insert into box values (?, ?, ?)", [(seq, i, b.handle) for i, b in enumerate(boxes)])
            self._db.executemany(
                "insert into schema_use values (?, ?)", [(seq, h) for h in sorted({b.schema for b in boxes})]
            )
        self._set_meta("last_seq", seq.to_bytes(8, "big"))
        self._set_meta("head", manifest)
        if drop_checkpoints:
            self._db.execute("delete from checkpoint")
        return seq

    def _promote(self, cut: bytes) -> None:
        rows = self._db.execute(
            "select kid, box, handle, samples, schema, priority from checkpoint where cut = ? order by number", (cut,)
        ).fetchall()
        boxes = [NewBox(*row[:5]) for row in rows]
        self._insert(EnvelopeType.DATA, Priority(min(row[5] for row in rows)), cut, boxes)
        self._db.execute("delete from checkpoint where cut = ?", (cut,))

    def _destroy_box(self, seq: int, index: int, generation: int, reason: DestructionReason) -> None:
        (data,) = self._db.execute("select envelope from row where seq = ?", (seq,)).fetchone()
        noted = destroy(data, index, generation, reason, self._key)
        self._db.execute("update row set envelope = ? where seq = ?", (noted, seq))
        self._db.execute("delete from box where seq = ? and idx = ?", (seq, index))

    def _drop(self, seq: int, reason: str) -> bool:
        row = self._db.execute("select samples from row where seq = ?", (seq,)).fetchone()
        if row is None:
            return False
        self._remove([seq])
        add_gap(self._db, seq, reason, row[0])
        return True

    def _remove(self, seqs: Sequence[int]) -> None:
        for table in ("row", "box", "schema_use"):
            self._db.executemany(f"delete from {table} where seq = ?", [(seq,) for seq in seqs])

    def _evict(self) -> bool:
        """Make room: acknowledged rows first, then the least important and oldest, each of these named in a gap."""
        victims = self._db.execute(
            "select seq, acked, samples from row where acked = 1 or priority > ? order by acked desc, priority desc, seq limit ?",
            (int(Priority.KEEP), EVICT_ROWS),
        ).fetchall()
        if not victims:
            return False
        if victims[0][1]:
            victims = [v for v in victims if v[1]]
        try:
            with self._transaction():
                self._remove([seq for seq, _, _ in victims])
                for seq, acked, samples in victims:
                    if not acked:
                        add_gap(self._db, seq, "evicted", samples)
                        self.evicted += 1
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            return False
        return True
