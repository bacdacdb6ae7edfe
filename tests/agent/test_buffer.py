"""The buffer keeps what the cloud has not signed for, in one unbroken chain, on the real SQLite."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from carnet.box import Place, Prelude, seal_box
from carnet.envelope import NO_PREVIOUS, parse_envelope, verify
from carnet.envelopetype import EnvelopeType
from carnet.errors import UnavailableError
from carnet.keys import BoxKey, SigningKey
from carnet.note import DestructionReason
from carnet_agent.buffer import Buffer, BufferFull, Destroyed, NewBox, NewEnvelope, Priority, Row, open_buffer
from carnet_agent.buffer.tables import configure
from tests.realparts import real_part

DEVICE = bytes(range(16))
KEY = SigningKey.from_seed(b"k" * 32)
CLOUD = BoxKey.from_seed(b"c" * 32)
SCHEMA = b"s" * 16
RECORD = b"r" * 10
SIZE_MAX = 1 << 20


def box(
    body: bytes = b"body", handle: bytes = b"h" * 8, index: int = 0, cut: bytes = b"c" * 8, samples: int = 3
) -> NewBox:
    """A real sealed box; its place names a stream that these tests do not look at."""
    place = Place(EnvelopeType.DATA, index, DEVICE, b"t" * 8, cut, KEY.kid, CLOUD.kid)
    prelude = Prelude(1, 1, b"b" * 8, 5, schema_hash=SCHEMA, records=(RECORD,))
    return NewBox(CLOUD.kid, seal_box(prelude, body, CLOUD.public, place, b"e" * 32), handle, samples, SCHEMA)


@pytest.fixture
def source() -> random.Random:
    return random.Random(7)


@pytest.fixture
def buffer(source: random.Random) -> Buffer:
    connection = sqlite3.connect(":memory:")
    configure(connection, SIZE_MAX)
    return Buffer(connection, DEVICE, KEY, source.randbytes)


def sent(buffer: Buffer) -> list[Row]:
    """Everything that waits, in the order of numbers."""
    rows = [row for priority in Priority for row in buffer.to_send(priority, (), 1000)]
    return sorted(rows, key=lambda row: row.number)


class Lid:
    """Seals anything, and keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, cut: bytes, content: Any) -> NewBox:
        self.seen.append(content)
        return box(cut=cut)


def checkpoint(new: NewBox, cut: bytes = b"1" * 8, priority: Priority = Priority.LIVE) -> NewEnvelope:
    return NewEnvelope(EnvelopeType.DATA, priority, cut, (new,))


def add(buffer: Buffer, count: int, priority: Priority = Priority.BACKGROUND, size: int = 4) -> list[int]:
    return [buffer.add(EnvelopeType.DATA, priority, b"c" * 8, [box(b"x" * size)]) for _ in range(count)]


def test_rows_are_numbered_and_chained_without_a_break(buffer: Buffer) -> None:
    """Each envelope names the manifest hash of the one before it, and the device's signature holds."""
    assert add(buffer, 3) == [1, 2, 3]
    previous = NO_PREVIOUS
    for row in sent(buffer):
        envelope = parse_envelope(row.envelope)
        verify(envelope, KEY.public)
        assert envelope.header.prev == previous
        previous = envelope.manifest_hash
    assert buffer.head == previous


def test_an_acknowledged_row_is_not_sent_again_and_stays_as_first_to_evict(buffer: Buffer) -> None:
    """A restored cloud can still get what it once signed for."""
    add(buffer, 3)
    before = buffer.counts()["samples_waiting"]
    assert buffer.acknowledge(buffer.stream, [(1, 2)]) == {1, 2}
    assert [r.seq for r in sent(buffer)] == [3]
    one = buffer.counts()
    assert one["rows_waiting"] == 1 and one["bytes_waiting"] > 0 and one["samples_waiting"] == before // 3
    add(buffer, 1)
    assert buffer.reopen(buffer.stream, 1) == 1
    assert [r.seq for r in sent(buffer)] == [2, 3, 4]


def test_an_acknowledgement_costs_no_commit_of_its_own(buffer: Buffer) -> None:
    """It is written with the next row; a crash in between only sends the row once more."""
    add(buffer, 1)
    statements: list[str] = []
    buffer._db.set_trace_callback(statements.append)
    buffer.acknowledge(buffer.stream, [(1, 1)])
    assert not [s for s in statements if s.lower().startswith(("begin", "commit", "update"))]


def test_a_full_buffer_evicts_the_least_important_and_names_the_gap() -> None:
    """Loss that cannot be avoided is counted and named, and health and consent rows stay."""
    connection = sqlite3.connect(":memory:")
    configure(connection, 64 * 4096)
    buffer = Buffer(connection, DEVICE, KEY, random.Random(1).randbytes)
    buffer.add(EnvelopeType.DATA, Priority.KEEP, b"c" * 8, [box()])
    buffer.add(EnvelopeType.DATA, Priority.EVENT, b"c" * 8, [box()])
    seqs = add(buffer, 60, size=12_000)
    kept = [r.seq for r in sent(buffer)]
    assert kept[:2] == [1, 2]
    assert kept[-1] == seqs[-1]
    lid = Lid()
    buffer.add_gap_row(lid)
    (ranges,) = lid.seen
    missing = sorted(set(seqs) - set(kept))
    assert [(r.first, r.last, r.reason) for r in ranges] == [(missing[0], missing[-1], "evicted")]
    assert sum(r.samples for r in ranges) == 3 * len(missing)


def test_acknowledged_rows_are_evicted_before_anything_else() -> None:
    """They are only kept for a cloud that forgets."""
    connection = sqlite3.connect(":memory:")
    configure(connection, 64 * 4096)
    buffer = Buffer(connection, DEVICE, KEY, random.Random(1).randbytes)
    add(buffer, 8, size=12_000)
    buffer.acknowledge(buffer.stream, [(1, 8)])
    add(buffer, 8, size=12_000)
    assert buffer.counts()["rows_evicted"] == 0
    assert [r.seq for r in sent(buffer)] == list(range(9, 17))


def test_a_buffer_full_of_what_must_stay_says_so() -> None:
    """The caller counts the loss; nothing that must stay is thrown away for it."""
    connection = sqlite3.connect(":memory:")
    configure(connection, 32 * 4096)
    buffer = Buffer(connection, DEVICE, KEY, random.Random(1).randbytes)
    with pytest.raises(BufferFull):
        add(buffer, 60, Priority.KEEP, size=12_000)
    assert [r.seq for r in sent(buffer)] == list(range(1, buffer.last_seq + 1))


def test_a_destroyed_box_leaves_its_note_and_an_intact_chain(buffer: Buffer) -> None:
    """Withdrawn data goes from the disk; the envelope still verifies and keeps its number."""
    buffer.add(EnvelopeType.DATA, Priority.BACKGROUND, b"c" * 8, [box(handle=b"a" * 8), box(handle=b"b" * 8, index=1)])
    manifest = buffer.manifest(buffer.stream, 1)
    assert buffer.destroy([b"a" * 8], 9, DestructionReason.ENDED) == 1
    envelope = parse_envelope(sent(buffer)[0].envelope)
    verify(envelope, KEY.public)
    assert envelope.manifest_hash == manifest
    assert [p.note is not None for p in envelope.parts] == [True, False]
    assert buffer.handles() == {b"b" * 8}
    # what was destroyed is not lost a second time if the row is
    assert sent(buffer)[0].samples == 3


def test_destroyed_bytes_are_in_no_file(tmp_path: Path, source: random.Random) -> None:
    """Neither the database nor its write-ahead log still holds the box."""
    opened = open_buffer(tmp_path / "buffer.db", DEVICE, KEY, source.randbytes, SIZE_MAX)
    new = box(source.randbytes(2000))
    opened.buffer.add(EnvelopeType.DATA, Priority.BACKGROUND, b"c" * 8, [new])
    opened.buffer.checkpoint([checkpoint(new)])
    needle = new.box[100:164]
    assert any(needle in p.read_bytes() for p in tmp_path.iterdir())
    real_part("sqlite", sqlite3.sqlite_version)
    opened.buffer.destroy([new.handle], 2, DestructionReason.ENDED)
    assert not [p.name for p in tmp_path.iterdir() if needle in p.read_bytes()]


def test_a_receipt_empties_the_log_if_a_crash_came_before_the_destruction_could(
    tmp_path: Path, source: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The destruction was committed, its bytes were still in the log; the next life empties it before it signs."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    buffer = open_buffer(first / "buffer.db", DEVICE, KEY, source.randbytes, SIZE_MAX).buffer
    new = box(source.randbytes(2000))
    buffer.add(EnvelopeType.DATA, Priority.BACKGROUND, b"c" * 8, [new])
    needle = new.box[100:164]
    with monkeypatch.context() as crash:
        crash.setattr(buffer, "scrub", lambda: None)
        buffer.destroy([new.handle], 2, DestructionReason.ENDED)
        shutil.copytree(first, second)
    again = open_buffer(second / "buffer.db", DEVICE, KEY, source.randbytes, SIZE_MAX).buffer
    assert [p.name for p in second.iterdir() if needle in p.read_bytes()] == ["buffer.db-wal"]
    found: list[str] = []

    def seal(cut: bytes, _destroyed: Destroyed) -> NewBox:
        found.extend(p.name for p in second.iterdir() if needle in p.read_bytes())
        return box(cut=cut)

    assert again.add_receipt_row(seal)
    assert found == [], "it was there when the receipt was made"


def test_checkpoints_are_replaced_by_the_final_rows_in_one_transaction(buffer: Buffer) -> None:
    """They are never sent, nothing is there twice, and other windows keep theirs."""
    buffer.checkpoint([checkpoint(box()), checkpoint(box(), b"2" * 8, Priority.BACKGROUND)])
    assert sent(buffer) == []
    buffer.add_all([NewEnvelope(EnvelopeType.DATA, Priority.LIVE, b"c" * 8, (box(),))], replaces=[Priority.LIVE])
    assert [row.priority for row in sent(buffer)] == [Priority.LIVE]
    assert buffer.promote() == 1
    assert [row.priority for row in sent(buffer)] == [Priority.LIVE, Priority.BACKGROUND]


def test_checkpoints_that_a_crash_left_are_promoted_at_the_next_start(buffer: Buffer) -> None:
    """That is the loss bound: only what came after the last checkpoint is lost."""
    buffer.checkpoint([checkpoint(box()), checkpoint(box(handle=b"i" * 8), b"2" * 8)])
    buffer.checkpoint([checkpoint(box(), b"3" * 8)])
    assert buffer.promote() == 3
    envelopes = [parse_envelope(r.envelope) for r in sent(buffer)]
    assert [(e.header.seq, e.header.cut, len(e.parts)) for e in envelopes] == [
        (1, b"1" * 8, 1),
        (2, b"2" * 8, 1),
        (3, b"3" * 8, 1),
    ]


def test_a_refused_row_becomes_a_gap(buffer: Buffer) -> None:
    """It is not sent for ever; a refusal of other bytes under its number does nothing."""
    add(buffer, 2)
    manifest = buffer.manifest(buffer.stream, 1)
    assert manifest is not None
    assert buffer.reject(buffer.stream, 1, b"m" * 32, "refused") is None
    assert buffer.reject(buffer.stream, 1, manifest, "refused") == 1
    assert buffer.reject(buffer.stream, 1, manifest, "refused") is None
    assert [r.seq for r in sent(buffer)] == [2]


@pytest.mark.parametrize("order", [(3, 5, 4), (4, 3, 5), (5, 4, 3), (3, 4, 5)])
def test_neighbours_that_are_lost_in_any_order_are_one_range(buffer: Buffer, order: tuple[int, ...]) -> None:
    """Each with the range before it, the one after it, or both; a number with another reason is a range of its own."""
    add(buffer, 7)
    for seq in (*order, 6):
        manifest = buffer.manifest(buffer.stream, seq)
        assert manifest is not None
        assert buffer.reject(buffer.stream, seq, manifest, "refused" if seq < 6 else "other")
    lid = Lid()
    buffer.add_gap_row(lid)
    (ranges,) = lid.seen
    assert [(r.first, r.last, r.reason, r.samples) for r in ranges] == [(3, 5, "refused", 9), (6, 6, "other", 3)]


def test_a_new_stream_names_what_was_never_confirmed(buffer: Buffer) -> None:
    """A restored card must not continue old numbers, and what it held is not lost in silence."""
    add(buffer, 3)
    old = buffer.stream
    buffer.acknowledge(old, [(1, 1)])
    buffer.write_acknowledged()
    assert buffer.new_stream() == 6
    assert buffer.stream != old
    assert buffer.previous_stream == old
    assert (buffer.last_seq, buffer.head) == (0, NO_PREVIOUS)
    lid = Lid()
    buffer.add_gap_row(lid)
    (ranges,) = lid.seen
    assert [(r.stream, r.first, r.last, r.reason, r.samples) for r in ranges] == [(old, 2, 3, "rolled_back", 6)]


def test_a_destruction_is_reported_once_even_after_a_crash(buffer: Buffer) -> None:
    """What went is remembered with the destruction itself, until its receipt is a row."""
    buffer.add(EnvelopeType.DATA, Priority.BACKGROUND, b"c" * 8, [box(handle=b"a" * 8), box(handle=b"b" * 8, index=1)])
    buffer.checkpoint([checkpoint(box(handle=b"a" * 8))])
    assert buffer.destroy([b"a" * 8], 9, DestructionReason.ENDED) == 2
    lid = Lid()
    assert buffer.add_receipt_row(lid)
    assert not buffer.add_receipt_row(lid)
    assert lid.seen == [Destroyed(b"a" * 8, 9, DestructionReason.ENDED, 2, 1, 6)]


def test_schemas_stay_while_a_row_names_them(buffer: Buffer) -> None:
    """A cloud that lost one can ask for it again."""
    buffer.add_all([], schemas={SCHEMA: b"document", b"z" * 16: b"other"})
    add(buffer, 1)
    buffer.drop_unused_schemas()
    assert buffer.schema_hashes() == [SCHEMA]


def test_a_second_agent_is_refused(tmp_path: Path, source: random.Random) -> None:
    """Two writers on one file can corrupt it."""
    path = tmp_path / "buffer.db"
    first = open_buffer(path, DEVICE, KEY, source.randbytes, SIZE_MAX)
    with pytest.raises(UnavailableError, match="another agent"):
        open_buffer(path, DEVICE, KEY, source.randbytes, SIZE_MAX)
    assert first.buffer.last_seq == 0


def test_a_corrupt_buffer_is_put_aside_and_what_our_signature_vouches_for_is_saved(
    tmp_path: Path, source: random.Random
) -> None:
    """A new stream begins; the old file is kept for looking."""
    path = tmp_path / "buffer.db"
    opened = open_buffer(path, DEVICE, KEY, source.randbytes, SIZE_MAX)
    add(opened.buffer, 20, size=3000)
    opened.buffer.scrub()
    stream = opened.buffer.stream
    opened.buffer._db.close()
    data = bytearray(path.read_bytes())
    data[-4096 * 3 : -4096 * 2] = source.randbytes(4096)
    data[4096 + 100 : 4096 + 120] = source.randbytes(20)
    path.write_bytes(data)
    again = open_buffer(path, DEVICE, KEY, source.randbytes, SIZE_MAX)
    assert again.quarantined
    assert again.buffer.stream != stream
    assert again.salvaged == len(sent(again.buffer))
    assert all(row.stream == stream for row in sent(again.buffer))
    assert (tmp_path / "buffer.db.quarantine.1").exists()


def test_what_was_put_aside_is_deleted_whole_and_nothing_else_is(tmp_path: Path, source: random.Random) -> None:
    """Logs of it too; the buffer in use and strangers' files beside it stay."""
    path = tmp_path / "buffer.db"
    for number in (7, 8):
        (tmp_path / f"buffer.db.quarantine.{number}-wal").write_bytes(b"log")
    path.write_bytes(b"not a database at all" * 500)
    (tmp_path / "buffer.db.quarantine.notes").write_bytes(b"somebody's")
    opened = open_buffer(path, DEVICE, KEY, source.randbytes, SIZE_MAX)
    kept = {"buffer.db.quarantine.8-wal", "buffer.db.quarantine.9", "buffer.db.quarantine.notes"}
    assert {each.name for each in tmp_path.glob("*quarantine*")} == kept
    opened.buffer.discard_remains()
    assert {each.name for each in tmp_path.glob("*quarantine*")} == {"buffer.db.quarantine.notes"}
    assert path.exists()
    opened.buffer.discard_remains()


def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path, source: random.Random) -> None:
    """The agent starts; the stranger's file is not destroyed."""
    path = tmp_path / "buffer.db"
    path.write_bytes(b"not a database at all" * 500)
    opened = open_buffer(path, DEVICE, KEY, source.randbytes, SIZE_MAX)
    assert opened.quarantined
    assert (tmp_path / "buffer.db.quarantine.1").read_bytes().startswith(b"not a database")
