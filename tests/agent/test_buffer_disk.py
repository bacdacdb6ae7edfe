"""Room that is made when the cap is reached, what the disk refuses, and what is told of both."""

from __future__ import annotations

import sqlite3

import pytest

from carnet.envelopetype import EnvelopeType
from carnet_agent.buffer import Buffer, BufferFull, DiskFailed, Lost, Priority
from carnet_agent.buffer.transaction import is_damage, transaction
from tests.agent.bufferkit import (
    CUT,
    Lid,
    Statements,
    add,
    box,
    envelope,
    lost,
    manifest,
    memory,
    opened,
    table,
    waiting,
)


def evict(buffer: Buffer) -> list[int]:
    """The numbers of the rows that one eviction takes."""
    before = {row[0] for row in table(buffer, "row")}
    is_done = buffer._disk._evict()
    gone = sorted(before - {row[0] for row in table(buffer, "row")})
    assert is_done == bool(gone)
    return gone


def test_rows_go_by_sixteen_the_least_important_and_oldest_first_and_kinds_are_not_mixed(buffer: Buffer) -> None:
    """An event does not go because there were fewer than sixteen background rows; what must be kept never goes."""
    for priority, count in ((Priority.KEEP, 1), (Priority.EVENT, 1), (Priority.LIVE, 2), (Priority.BACKGROUND, 20)):
        add(buffer, count, priority)
    taken = [evict(buffer) for _ in range(5)]
    assert taken == [list(range(5, 21)), [21, 22, 23, 24], [3, 4], [2], []]
    assert [row.priority for row in waiting(buffer)] == [Priority.KEEP]
    counts = buffer.counts()
    assert (counts["rows_evicted"], counts["samples_evicted"]) == (23, 69)
    assert lost(buffer) == [Lost(buffer.stream, 2, 24, "evicted", 69)]
    assert [row[0] for row in table(buffer, "box")] == [1]


def test_acknowledged_rows_go_first_and_are_no_loss(buffer: Buffer) -> None:
    """Whatever they are: the cloud has them."""
    add(buffer, 1, Priority.KEEP)
    add(buffer, 2)
    buffer.acknowledge(buffer.stream, [(1, 2)])
    buffer.write_acknowledged()
    assert [evict(buffer) for _ in range(3)] == [[1, 2], [3], []]
    assert lost(buffer) == [Lost(buffer.stream, 3, 3, "evicted", 3)]
    assert (buffer.counts()["rows_evicted"], buffer.counts()["samples_evicted"]) == (1, 3)


def test_a_row_whose_acknowledgement_is_only_noted_goes_before_one_that_waits(buffer: Buffer) -> None:
    add(buffer, 2)
    buffer.acknowledge(buffer.stream, [(2, 2)])
    assert [evict(buffer) for _ in range(2)] == [[2], [1]]
    assert lost(buffer) == [Lost(buffer.stream, 1, 1, "evicted", 3)]
    assert (buffer.counts()["rows_evicted"], buffer.counts()["samples_evicted"]) == (1, 3)


def test_what_is_acknowledged_late_goes_before_what_waits(buffer: Buffer) -> None:
    """Rows are looked for from where the last one was found, and an acknowledgement may come for one before it."""
    add(buffer, 40)
    taken = []
    for seqs in ((20, 39), (3, 3), (10, 12)):
        buffer.acknowledge(buffer.stream, [seqs])
        taken.append(evict(buffer))
    taken += [evict(buffer) for _ in range(2)]
    assert taken == [
        list(range(20, 36)),
        [3, *range(36, 40)],
        [10, 11, 12],
        [1, 2, *range(4, 10), *range(13, 20), 40],
        [],
    ]
    assert buffer.counts()["rows_evicted"] == 16


def test_all_that_is_acknowledged_goes_before_anything_that_waits(buffer: Buffer) -> None:
    add(buffer, 45)
    buffer.acknowledge(buffer.stream, [(3, 42)])
    taken = [evict(buffer) for _ in range(5)]
    assert taken == [[*range(3, 19)], [*range(19, 35)], [*range(35, 43)], [1, 2, 43, 44, 45], []]


def test_an_eviction_that_is_undone_is_done_by_the_next_one(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
    add(buffer, 3)
    buffer.acknowledge(buffer.stream, [(1, 2)])

    def wrong(_: object) -> None:
        buffer._db.execute("select * from nowhere")

    monkeypatch.setattr(buffer._disk, "remove", wrong)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        buffer._disk._evict()
    monkeypatch.undo()
    assert evict(buffer) == [1, 2]


@pytest.mark.parametrize("acknowledged", [True, False])
def test_to_make_room_costs_no_more_the_more_lies_in_the_buffer(acknowledged: bool) -> None:
    """Units are full for most of their lives: the steps of SQLite's machine for one eviction do not grow."""
    few, many = (steps_of_an_eviction(rows, acknowledged=acknowledged) for rows in (100, 2_000))
    assert many < 2 * few


def steps_of_an_eviction(rows: int, *, acknowledged: bool) -> int:
    """Counted in tens, for the second one: the first finds out what there is."""
    buffer = opened(memory(1 << 24))
    buffer.add_all([envelope() for _ in range(rows)])
    if acknowledged:
        buffer.acknowledge(buffer.stream, [(1, rows)])
        buffer.write_acknowledged()
    evict(buffer)
    steps = []
    buffer._db.set_progress_handler(lambda: steps.append(10), 10)
    buffer._disk._evict()
    buffer._db.set_progress_handler(None, 0)
    return sum(steps)


def test_a_fault_that_is_not_a_full_disk_evicts_nothing(buffer: Buffer) -> None:
    """It is told as it is, and what was begun is undone."""
    add(buffer, 1)

    def wrong() -> None:
        buffer._db.execute("delete from row")
        buffer._db.execute("select * from nowhere")

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        buffer._disk.with_room(wrong)
    assert [row.seq for row in waiting(buffer)] == [1]
    assert buffer.counts()["rows_evicted"] == 0


def test_a_buffer_that_cannot_even_write_an_eviction_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naming what would go needs a page, too: nothing goes unnamed."""
    buffer = opened(memory(64 * 4096))
    add(buffer, 3, size=9_000)
    pages = buffer._db.execute("pragma page_count").fetchone()[0]
    buffer._db.execute(f"pragma max_page_count={pages}")

    def full(*_: object) -> None:
        buffer._db.execute("create table more as select randomblob(100000) as blob")

    monkeypatch.setattr("carnet_agent.buffer.disk.add_gap", full)
    with pytest.raises(BufferFull) as refusal:
        add(buffer, 60, size=9_000)
    assert (refusal.value.reason, refusal.value.temporary) == ("buffer_full", True)
    assert buffer._disk._evict() is False
    monkeypatch.undo()
    assert [row.seq for row in waiting(buffer)] == list(range(1, buffer.last_seq + 1))
    assert buffer.counts()["rows_evicted"] == 0


def test_an_error_in_an_eviction_that_is_not_a_full_disk_is_told(
    buffer: Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(buffer, 1)

    def wrong(*_: object) -> None:
        buffer._db.execute("select * from nowhere")

    monkeypatch.setattr("carnet_agent.buffer.disk.add_gap", wrong)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        buffer._disk._evict()
    assert [row.seq for row in waiting(buffer)] == [1]


def test_a_disk_that_takes_nothing_keeps_acknowledgements_noted(buffer: Buffer) -> None:
    """They are written when it takes them again; an answer of the cloud is no reason to fail."""
    add(buffer, 300)
    buffer._db.execute("pragma query_only=on")
    assert len(buffer.acknowledge(buffer.stream, [(1, 260)])) == 260
    with pytest.raises(DiskFailed) as refusal:
        buffer.write_acknowledged()
    assert (refusal.value.reason, refusal.value.temporary) == ("disk_failed", True)
    assert "SQLITE_READONLY" in str(refusal.value)
    assert buffer.counts()["rows_waiting"] == 40
    buffer._db.execute("pragma query_only=off")
    buffer.write_acknowledged()
    assert sum(row[5] for row in table(buffer, "row")) == 260
    statements = Statements(buffer)
    buffer.write_acknowledged()
    assert statements.commits == 0


def test_a_full_disk_is_a_failed_one_for_who_cannot_make_room(buffer: Buffer) -> None:
    pages = buffer._db.execute("pragma page_count").fetchone()[0]
    buffer._db.execute(f"pragma max_page_count={pages}")
    big = "create table more as select randomblob(1000000) as blob"
    with pytest.raises(DiskFailed), transaction(buffer._db):
        buffer._db.execute(big)
    with pytest.raises(DiskFailed), buffer._disk.transaction():
        buffer._db.execute(big)
    with pytest.raises(sqlite3.OperationalError, match="full"), transaction(buffer._db, can_make_room=True):
        buffer._db.execute(big)
    assert not buffer._db.in_transaction


@pytest.mark.parametrize(
    ("code", "damaged"),
    [
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_CORRUPT_INDEX, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_IOERR_READ, True),
        (sqlite3.SQLITE_IOERR_SHORT_READ, True),
        (sqlite3.SQLITE_IOERR_CORRUPTFS, True),
        (sqlite3.SQLITE_IOERR_WRITE, False),
        (sqlite3.SQLITE_FULL, False),
    ],
)
def test_what_the_disk_has_damaged_is_no_refusal_that_passes(buffer: Buffer, code: int, damaged: bool) -> None:
    """Who takes it for one counts losses for ever; a start puts the file aside."""
    error = sqlite3.OperationalError("the disk's word")
    error.sqlite_errorcode, error.sqlite_errorname = code, "NAME"
    assert is_damage(error) == damaged
    with pytest.raises(sqlite3.OperationalError if damaged else DiskFailed), transaction(buffer._db):
        raise error


def test_an_error_of_no_code_is_no_damage() -> None:
    assert not is_damage(sqlite3.ProgrammingError("closed"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_goes_wrong_in_a_transaction_is_undone(buffer: Buffer, error: type[BaseException]) -> None:
    def half_done() -> None:
        with transaction(buffer._db):
            buffer._db.execute("insert into schema values (?, ?)", (b"h", b"d"))
            raise error

    with pytest.raises(error):
        half_done()
    assert table(buffer, "schema") == []
    assert not buffer._db.in_transaction


def test_priorities_are_what_is_stored(buffer: Buffer) -> None:
    """Numbers on the disk of every unit: they may not change with their names."""
    assert [int(each) for each in (Priority.KEEP, Priority.EVENT, Priority.LIVE, Priority.BACKGROUND)] == [0, 1, 2, 3]
    buffer.add(EnvelopeType.GAP, Priority.EVENT, CUT, [box()])
    assert [(row[3], row[4], row[5]) for row in table(buffer, "row")] == [(int(EnvelopeType.GAP), 1, 0)]


def test_what_finds_no_room_is_not_tried_again(buffer: Buffer) -> None:
    """With nothing to evict the second try would fail like the first; with something, it is one try more."""
    tries = []

    def full() -> None:
        tries.append(len(waiting(buffer)))
        buffer._db.execute("create table more as select randomblob(2000000) as blob")

    with pytest.raises(BufferFull):
        buffer._disk.with_room(full)
    assert tries == [0]
    add(buffer, 17)
    tries.clear()
    with pytest.raises(BufferFull):
        buffer._disk.with_room(full)
    assert tries == [17, 1, 0]


def test_making_room_has_an_end(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than the whole buffer does not empty it row by row for ever."""
    monkeypatch.setattr("carnet_agent.buffer.disk.EVICT_TRIES", 1)
    add(buffer, 40)
    with pytest.raises(BufferFull):
        buffer._disk.with_room(
            lambda: buffer._db.execute("create table more as select randomblob(2000000) as blob").fetchall()
        )
    assert len(waiting(buffer)) == 40 - 16


def test_one_gap_envelope_names_256_ranges(buffer: Buffer) -> None:
    """What is left goes into the next one."""
    for number in add(buffer, 514)[::2]:
        row = buffer.row(number)
        assert row is not None
        buffer.reject(row.stream, row.seq, manifest(buffer, row.seq), "for_a_test")
    lid = Lid()
    while buffer.add_gap_row(lid) is not None:
        pass
    assert [len(ranges) for ranges in lid.seen] == [256, 1]
