"""The power goes inside a write of the unit: on real files, at every place of the log and of the database.

Law 5: what a call had written when it returned is there, what it had begun is there whole or not at all, and no number
goes without a trace.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from carnet.consent import encode_grant_set
from carnet.envelopetype import EnvelopeType
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet, PublicKey
from carnet.narrowing import Mode
from carnet.note import DestructionReason
from carnet_agent.buffer import Buffer, Priority, open_buffer
from carnet_agent.buffer.gaps import gaps
from carnet_agent.consent.file import open_consents
from carnet_agent.consent.store import GrantStore
from carnet_agent.consent.store import check as check_consents
from carnet_agent.floor import Floor
from tests import consentkit as kit
from tests.agent.test_buffer import DEVICE, KEY, Lid, add, box, checkpoint
from tests.realparts import real_part

LOG_HEADER_BYTES, FRAME_HEADER_BYTES, PAGE_BYTES, SECTOR_BYTES = 32, 24, 4096, 512
FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES
IN_A_FRAME = (FRAME_HEADER_BYTES // 2, FRAME_BYTES // 2, FRAME_BYTES)
"""Where a frame of the log is cut: in its header, in its page, behind it."""
BUFFER_BYTES = 64 * PAGE_BYTES
TORN = 20
LARGE = 12_000
ACKNOWLEDGED, REJECTED = (1, 2), 5
"""Numbers of rows."""

Dump = dict[str, list[tuple[object, ...]]]


def dump(db: sqlite3.Connection) -> Dump:
    """Everything that a database says."""
    names = [row[0] for row in db.execute("select name from sqlite_master where type = 'table' order by name")]
    return {name: sorted(db.execute(f"select * from {name}").fetchall(), key=repr) for name in names}


def connection_of(thing: Buffer | GrantStore) -> sqlite3.Connection:
    return thing._db


def open_anew(path: Path) -> Buffer:
    found = open_buffer(path, DEVICE, KEY, random.Random(3).randbytes, BUFFER_BYTES)
    assert not found.quarantined, "a power cut is no corruption"
    # the log is emptied after a destruction; here it is what we look at
    found.buffer.scrub = lambda: None  # type: ignore[method-assign]
    return found.buffer


def open_consents_anew(path: Path) -> GrantStore:
    store, damaged = open_consents(path, kit.OWNER, random.Random(3).randbytes)
    assert not damaged, "a power cut is no corruption"
    return store


@dataclass
class Written:
    """A database and its log before and after one write, and what each commit in it made of the first."""

    database: bytes
    log: bytes
    before: Dump
    after: Dump
    commits: int


def write_once(path: Path, thing: Buffer | GrantStore, write: Callable[[], object]) -> Written:
    """Do one write over an empty log."""
    db, log = connection_of(thing), path.with_name(path.name + "-wal")
    assert db.execute("pragma synchronous").fetchone()[0] == 2, "a commit that is not synced is no commit"
    db.execute("pragma wal_checkpoint(truncate)").fetchone()
    database, before, statements = path.read_bytes(), dump(db), list[str]()
    db.set_trace_callback(statements.append)
    write()
    db.set_trace_callback(None)
    written = Written(database, log.read_bytes(), before, dump(db), statements.count("commit"))
    assert path.read_bytes() == database, "all of it is in the log"
    return written


def lay(folder: Path, database: bytes, log: bytes) -> Path:
    """What is on the disk when the power comes back."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "x.db").write_bytes(database)
    (folder / "x.db-wal").write_bytes(log)
    return folder / "x.db"


def cuts(log: bytes) -> Iterator[int]:
    yield from (0, LOG_HEADER_BYTES // 2, LOG_HEADER_BYTES)
    for frame in range(LOG_HEADER_BYTES, len(log), FRAME_BYTES):
        yield from (frame + place for place in IN_A_FRAME)


def last_transaction(log: bytes) -> int:
    """Where the last transaction of the log begins: behind the last commit mark but one."""
    ends = [
        frame + FRAME_BYTES
        for frame in range(LOG_HEADER_BYTES, len(log), FRAME_BYTES)
        if any(log[frame + 4 : frame + 8])
    ]
    return ends[-2] if len(ends) > 1 else LOG_HEADER_BYTES


def torn(data: bytes, other: bytes, begin: int, source: random.Random) -> bytes:
    """``data`` with some sectors from ``begin`` on as in ``other``: a disk writes in any order."""
    found = bytearray(data)
    for at in range(begin, len(data), SECTOR_BYTES):
        if source.random() < 0.5:
            end = min(at + SECTOR_BYTES, len(data))
            found[at:end] = other[at:end].ljust(end - at, b"\0")
    return bytes(found)


def states(folder: Path, written: Written, read: Callable[[Path], Dump]) -> None:
    """Every cut leaves what some commit had made, in their order, and the last cut everything."""
    seen = [read(lay(folder, written.database, written.log[:cut])) for cut in cuts(written.log)]
    distinct = [state for state, _ in itertools.groupby(seen)]
    assert (distinct[0], distinct[-1]) == (written.before, written.after)
    assert len(distinct) == written.commits + 1
    source = random.Random(len(written.log))
    begin = last_transaction(written.log)
    for _ in range(TORN):
        log = torn(written.log, b"", begin, source)
        if log != written.log:
            assert read(lay(folder, written.database, log)) == distinct[-2]


def copied(folder: Path, written: Written, database: bytes, read: Callable[[Path], Dump]) -> None:
    """The log is copied into the database, in any order of sectors, while it is still whole itself."""
    source = random.Random(len(database))
    for _ in range(TORN):
        half = torn(database, written.database, 0, source)
        assert read(lay(folder, half, written.log)) == written.after


def fill(buffer: Buffer) -> None:
    """Rows nearly up to the cap, with checkpoints, and acknowledgements that are noted."""
    add(buffer, 14, size=LARGE)
    buffer.add(EnvelopeType.DATA, Priority.EVENT, b"c" * 8, [box(handle=b"a" * 8), box(handle=b"b" * 8, index=1)])
    buffer.checkpoint([checkpoint(box(b"k" * 900, handle=b"a" * 8))])
    buffer.acknowledge(buffer.stream, [ACKNOWLEDGED])


def insert(buffer: Buffer) -> None:
    """A window's row in place of its checkpoints, with the acknowledgements that were noted before it."""
    new = checkpoint(box(b"n" * 3000), cut=b"n" * 8)
    buffer.add_all([new], replaces=[Priority.LIVE], schemas={b"z" * 16: b"document"})


def reject(buffer: Buffer) -> None:
    buffer.reject(buffer.stream, REJECTED, buffer.manifest(buffer.stream, REJECTED) or b"", "refused")


def report(buffer: Buffer) -> None:
    """A number that will never come, and then the envelope that names it."""
    reject(buffer)
    buffer.add_gap_row(Lid())


WRITES: dict[str, Callable[[Buffer], object]] = {
    "insert": insert,
    "acknowledge": Buffer.write_acknowledged,
    "evict": lambda buffer: add(buffer, 4, size=LARGE),
    "checkpoint": lambda buffer: buffer.checkpoint([checkpoint(box(b"o" * 2000))]),
    "promote": Buffer.promote,
    "destroy": lambda buffer: buffer.destroy([b"a" * 8], 2, DestructionReason.ENDED),
    "reject": reject,
    "report": report,
    "offer": Buffer.offer,
    "stream start": Buffer.new_stream,
    "wipe": Buffer.wipe,
}


def read_buffer(path: Path) -> Dump:
    """What a start finds; no number below the last may be missing without its gap or its acknowledgement."""
    buffer = open_anew(path)
    with closing(connection_of(buffer)) as db:
        found = {row[0] for row in db.execute("select seq from row where stream = ?", (buffer.stream,))}
        for lost in gaps(db, 1000):
            found.update(range(lost.first, lost.last + 1))
        reported = (
            {REJECTED} if db.execute("select 1 from row where type = ?", (int(EnvelopeType.GAP),)).fetchone() else set()
        )
        missing = set(range(1, buffer.last_seq + 1)) - found
        assert missing <= {*ACKNOWLEDGED, *reported}, "nothing else may go without a gap"
        return dump(db)


@pytest.mark.parametrize("name", WRITES)
def test_f1_a_power_cut_inside_any_write_of_the_buffer(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.db"
    buffer = open_anew(path)
    fill(buffer)
    written = write_once(path, buffer, lambda: WRITES[name](buffer))
    assert written.commits >= (2 if name in {"evict", "report"} else 1)
    real_part("sqlite", sqlite3.sqlite_version)
    states(tmp_path / "cut", written, read_buffer)
    connection_of(buffer).execute("pragma wal_checkpoint(truncate)").fetchone()
    copied(tmp_path / "cut", written, path.read_bytes(), read_buffer)


KEY_SET = KeySet(
    9,
    (PublicKey.of(BoxKey.from_seed(b"n" * 32).public),),
    (PublicKey.of(SigningKey.from_seed(b"n" * 32).public),),
)
CHANGES: dict[str, Callable[[GrantStore], object]] = {
    "grant set": lambda store: store.apply(encode_grant_set(kit.grant_set(2, kit.documents()))),
    "keys": lambda store: store.set_key_set(KEY_SET),
    "mode": lambda store: store.set_mode(Mode.OFF),
    "time floor": lambda store: store.set_floor(Floor(kit.GIVEN_MS)),
    "handle": lambda store: store.handle_of((b"r" * 10,)),
}


def read_consents(path: Path) -> Dump:
    with closing(connection_of(open_consents_anew(path))) as db:
        assert check_consents(db)
        return dump(db)


@pytest.mark.parametrize("name", CHANGES)
def test_f1_a_power_cut_inside_any_write_of_the_consents(tmp_path: Path, name: str) -> None:
    """A rotation of keys, a grant set, a mode: the one before or the new one."""
    path = tmp_path / "x.db"
    store = open_consents_anew(path)
    store.apply(encode_grant_set(kit.grant_set(1, kit.documents())))
    written = write_once(path, store, lambda: CHANGES[name](store))
    assert written.commits == 1
    states(tmp_path / "cut", written, read_consents)
    connection_of(store).execute("pragma wal_checkpoint(truncate)").fetchone()
    copied(tmp_path / "cut", written, path.read_bytes(), read_consents)
