"""What can be saved of a damaged buffer, and how far the saving has come, over crashes.

Law: only what our own signature vouches for comes back, and what was put aside is taken up once: the rows and the note
that they are taken up are one transaction. Law 5: a crash before it begins the salvage again, not more than `TRIES`
times, for what brings the agent down each time must not do so for ever.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from carnet.envelope import Header, parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import Error
from carnet.hashes import SCHEMA, digest
from carnet.keys import SigningKey
from carnet_agent.buffer.disk import Disk
from carnet_agent.buffer.gaps import add_gap
from carnet_agent.buffer.rows import Saved
from carnet_agent.buffer.schemas import keep
from carnet_agent.buffer.unproven import UNPROVEN, Unproven
from carnet_agent.buffer.vouching import vouched

TRIES = 3
_DONE, _TRIES = "salvaged", "salvage_tries"
_NUMBER_BYTES = 8
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What a damaged database raises; SQLite's own words may quote the damage, which is no text then."""
BROKEN = (*UNREADABLE, Error, TypeError, ValueError, OverflowError)
"""What a row may raise that cannot be read, or is of types that nobody wrote."""


class Salvages:
    """The numbers of what was put aside, as the buffer that came after it knows them."""

    def __init__(self, disk: Disk, unproven: Unproven) -> None:
        self._disk = disk
        self._unproven = unproven

    def due(self, numbers: Iterable[int]) -> list[int]:
        """Those that are still to be taken up, ascending."""
        return sorted(number for number in numbers if number > self._number(_DONE))

    def begin(self) -> bool:
        """Count one try, on disk before it is made; False if there were enough."""
        tries = self._number(_TRIES)
        if tries >= TRIES:
            return False
        self._disk.with_room(lambda: self._set(_TRIES, tries + 1))
        return True

    def take_up(self, saved: Iterable[Saved], schemas: Mapping[bytes, bytes], number: int) -> int:
        """See `Buffer.adopt`."""

        def write() -> int:
            keep(self._disk.db, schemas)
            count = 0
            last: dict[bytes, int] = {}
            unproven: dict[bytes, int] = {}
            for each in saved:
                header = self._store(each)
                count += 1
                for seq in range(last.get(header.stream, header.seq) + 1, header.seq):
                    add_gap(self._disk.db, header.stream, seq, "corrupt", 0)
                last[header.stream] = header.seq
                if not each.offered:
                    unproven.setdefault(header.stream, header.seq - 1)
            self._unproven.add(unproven)
            self._set(_DONE, number)
            self._set(_TRIES, 0)
            return count

        return self._disk.with_room(write)

    def _store(self, one: Saved) -> Header:
        envelope = parse_envelope(one.envelope)
        header = envelope.header
        place = header.stream, header.seq, header.type
        row = self._disk.store(*place, one.priority, one.samples, envelope.manifest_hash, one.envelope)
        boxes = [(row, *box) for box in one.boxes]
        self._disk.db.executemany("insert into box values (?, ?, ?, ?, ?)", boxes)
        self._disk.set_meta("previous", header.stream)
        return header

    def _number(self, name: str) -> int:
        return int.from_bytes(self._disk.meta(name) or b"", "big")

    def _set(self, name: str, number: int) -> None:
        self._disk.set_meta(name, number.to_bytes(_NUMBER_BYTES, "big"))


class Wreck:
    """Every row of files that were put aside which can be read, waits, and carries our own signature.

    ``files``: the oldest first; a row that several hold is the newest's, where boxes of it may be destroyed. Where each
    lies is found out first; then it is read once more in its turn, as often as somebody asks: all of a full buffer
    would not fit into a unit's memory.
    """

    def __init__(self, files: Sequence[Path], device: bytes, key: SigningKey) -> None:
        self._files = files
        self.schemas: dict[bytes, bytes] = {}
        """Documents by hash."""
        self._places: dict[bytes, dict[int, int]] = {}
        """Stream, then number in it -> number of its row, times the count of files, plus its file."""
        for index, file in enumerate(files):
            with contextlib.suppress(*UNREADABLE), contextlib.closing(sqlite3.connect(file)) as db:
                self._look_through(db, index, device, key)

    def __iter__(self) -> Iterator[Saved]:
        with contextlib.ExitStack() as stack:
            opened: dict[int, tuple[sqlite3.Connection, dict[bytes, int] | None]] = {}
            for place in (place for stream in self._places.values() for place in stream.values()):
                number, index = divmod(place, len(self._files))
                with contextlib.suppress(*BROKEN):
                    if index not in opened:
                        db = stack.enter_context(contextlib.closing(sqlite3.connect(self._files[index])))
                        opened[index] = db, _offered(db)
                    db, offered = opened[index]
                    yield _saved(db, number, offered)[1]

    def _look_through(self, db: sqlite3.Connection, index: int, device: bytes, key: SigningKey) -> None:
        with contextlib.suppress(*UNREADABLE):
            for (document,) in db.execute("select document from schema order by hash"):
                self.schemas[digest(SCHEMA, bytes(document))] = bytes(document)
        for number in _numbers(db):
            with contextlib.suppress(*BROKEN):
                header, one = _saved(db, number, None)
                _require_vouched(one, device, key)
                self._places.setdefault(header.stream, {})[header.seq] = number * len(self._files) + index


def _offered(db: sqlite3.Connection) -> dict[bytes, int] | None:
    """Streams of which not every number may have been sent, and the last one that may; None if nobody can tell."""
    with contextlib.suppress(KeyError, *BROKEN):
        meta = dict(db.execute("select name, value from meta"))
        found = {bytes.fromhex(name.removeprefix(UNPROVEN)): meta[name] for name in meta if name.startswith(UNPROVEN)}
        found[meta["stream"]] = meta["offered"][:_NUMBER_BYTES]
        return {stream: int.from_bytes(number, "big") for stream, number in found.items()}
    return None


def _numbers(db: sqlite3.Connection) -> list[int]:
    """Every row that waits, ascending, as far as the damage lets anybody tell.

    A scan ends at the first bad page, so the rows and their index are read from both ends.
    """
    found: set[int] = set()
    for source, order in (("not indexed", "number {}"), ("indexed by row_waiting", "priority {0}, number {0}")):
        for way in ("asc", "desc"):
            with contextlib.suppress(*UNREADABLE):
                query = f"select number from row {source} where acked = 0 order by {order.format(way)}"
                found.update(number for (number,) in db.execute(query))
    return sorted(found)


def _require_vouched(one: Saved, device: bytes, key: SigningKey) -> None:
    """Something of `BROKEN` unless this unit signed it and each of its boxes can be destroyed when its grants end."""
    envelope = vouched(one.envelope, device, key)
    readable = sum(part.box is not None for part in envelope.parts)
    if envelope.header.type is EnvelopeType.DATA and readable != len(one.boxes):
        raise ValueError("a row with a box that has no handle")


def _saved(db: sqlite3.Connection, number: int, offered: Mapping[bytes, int] | None) -> tuple[Header, Saved]:
    """One row, by itself: whatever is wrong with it (`BROKEN`) costs no other."""
    query = "select priority, samples, envelope from row where number = ? and acked = 0"
    priority, samples, envelope = db.execute(query, (number,)).fetchone()
    query = "select idx, handle, samples, schema from box where number = ? order by idx"
    boxes = tuple(db.execute(query, (number,)).fetchall())
    header = parse_envelope(envelope).header
    sure = offered is not None and header.seq <= offered.get(header.stream, header.seq)
    return header, Saved(envelope, int(priority), int(samples), boxes, sure)
