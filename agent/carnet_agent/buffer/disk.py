"""The buffer's file as a place to write: one transaction at a time, and room made when its cap is reached.

Law 5: what is evicted was acknowledged, or is counted and named in a gap. A buffer is full for most of a unit's life,
because what was acknowledged stays until room is needed: to make room costs no more the more lies in it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from carnet.errors import Error
from carnet_agent.buffer.gaps import add_gap
from carnet_agent.buffer.rows import Dropped, Priority
from carnet_agent.buffer.transaction import DiskFailed, transaction

T = TypeVar("T")

EVICT_ROWS = 16
EVICT_TRIES = 64
NOTED_MAX = 256
NOWHERE = (1 << 63) - 1
"""Beyond every row."""


class BufferFull(Error):
    """The cap is reached and nothing may be evicted: what was to be written is lost, and the caller counts it."""

    temporary = True


class Disk:
    """A configured connection (`tables.configure`). ``acked``: rows whose acknowledgement is still to be written."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.db = connection
        self.acked: set[int] = set()
        self._acked_from = 0
        """No row before this one is acknowledged; who evicts looks from here on, and not through the whole file."""
        self.evicted_rows = 0
        self.evicted_samples = 0
        self.corrupt_rows = 0

    @contextmanager
    def transaction(self, *, can_make_room: bool = False) -> Iterator[None]:
        """One transaction, with the noted acknowledgements in it; they stay noted if it fails."""
        acked = sorted(self.acked)
        if acked:
            self._acked_from = min(self._acked_from, acked[0])
        with transaction(self.db, can_make_room=can_make_room):
            self.db.executemany("update row set acked = 1 where number = ?", [(number,) for number in acked])
            yield
        self.acked.difference_update(acked)

    def note(self, acked: set[int]) -> None:
        """Note acknowledgements for the next transaction.

        More than NOTED_MAX do not wait for one: each of them is passed over whenever something is sent.
        """
        self.acked |= acked
        if len(self.acked) > NOTED_MAX:
            with contextlib.suppress(DiskFailed):
                self.write_noted()

    def write_noted(self) -> None:
        """Write the noted acknowledgements in a transaction of their own."""
        if self.acked:
            with self.transaction():
                pass

    def with_room(self, write: Callable[[], T]) -> T:
        """``write`` in a transaction, again after each eviction; BufferFull if there is nothing to evict."""
        for _ in range(EVICT_TRIES):
            try:
                with self.transaction(can_make_room=True):
                    return write()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
            if not self._evict():
                break
        raise BufferFull("buffer_full", "the buffer is full of what may not be evicted")

    def store(self, *values: object) -> int:
        """Write one row: stream, seq, type, priority, samples, manifest, envelope; its number."""
        found = self.db.execute(
            "insert into row (stream, seq, type, priority, acked, samples, manifest, envelope)"
            " values (?, ?, ?, ?, 0, ?, ?, ?)",
            [int(value) if isinstance(value, int) else value for value in values],
        )
        assert found.lastrowid is not None
        return found.lastrowid

    def remove(self, numbers: Sequence[int]) -> None:
        """Take rows out, with all that hangs on them."""
        for statement in ("delete from row where number = ?", "delete from box where number = ?"):
            self.db.executemany(statement, [(number,) for number in numbers])

    def give_up(self, rows: Sequence[Dropped], reason: str) -> list[Dropped]:
        """Take rows out; those that the cloud has not acknowledged are lost and become gaps: which."""
        waiting = "select 1 from row where number = ? and acked = 0"
        lost = [row for row in rows if self.db.execute(waiting, row[:1]).fetchone()]
        self.remove([row[0] for row in rows])
        for _, stream, seq, samples in lost:
            add_gap(self.db, stream, seq, reason, samples)
        return lost

    def meta(self, name: str) -> bytes | None:
        row = self.db.execute("select value from meta where name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def set_meta(self, name: str, value: bytes) -> None:
        self.db.execute("insert or replace into meta values (?, ?)", (name, value))

    def counts(self) -> dict[str, int]:
        """Rows, samples and bytes that wait, checkpoints, and what was evicted or damaged since the start."""
        rows, samples, size = self.db.execute(
            "select count(*), coalesce(sum(samples), 0), coalesce(sum(length(envelope)), 0) from row where acked = 0 "
            "and number not in (select value from json_each(?))",
            (json.dumps(sorted(self.acked)),),
        ).fetchone()
        return {
            "rows_waiting": rows,
            "samples_waiting": samples,
            "bytes_waiting": size,
            "checkpoints": self.db.execute("select count(*) from checkpoint").fetchone()[0],
            "rows_evicted": self.evicted_rows,
            "samples_evicted": self.evicted_samples,
            "rows_corrupt": self.corrupt_rows,
        }

    def _evict(self) -> bool:
        """Make room: acknowledged rows first, then the least important, always the oldest; whether there were any.

        One kind at a time: an event does not go because there were fewer than so many background rows.
        """
        try:
            with self.transaction(can_make_room=True):
                acked = self._oldest_acked()
                lost = [] if acked else self._least_important()
                self.remove([row[0] for row in acked or lost])
                for _, stream, seq, samples in lost:
                    add_gap(self.db, stream, seq, "evicted", samples)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            return False
        self._acked_from = acked[-1][0] + 1 if acked else NOWHERE
        self.evicted_rows += len(lost)
        self.evicted_samples += sum(row[3] for row in lost)
        return bool(acked or lost)

    def _oldest_acked(self) -> list[Dropped]:
        query = "select number, stream, seq, samples from row where acked = 1 and number >= ? order by number limit ?"
        return self.db.execute(query, (self._acked_from, EVICT_ROWS)).fetchall()

    def _least_important(self) -> list[Dropped]:
        """The oldest waiting rows of the least important kind that there is; rows to KEEP are of none."""
        query = "select number, stream, seq, samples from row where acked = 0 and priority = ? order by number limit ?"
        kinds = sorted(set(Priority) - {Priority.KEEP}, reverse=True)
        found = (self.db.execute(query, (int(kind), EVICT_ROWS)).fetchall() for kind in kinds)
        return next(filter(None, found), [])
