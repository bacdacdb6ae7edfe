"""What a disk makes of the small tables: dropped and counted at a start, and in nobody's way afterwards."""

from __future__ import annotations

import pytest

from carnet.note import DestructionReason
from carnet_agent.buffer import Buffer, Lost, Priority
from tests.agent.bufferkit import HANDLE, OTHER, Lid, add, box, envelope, lost, memory, opened, table, waiting


@pytest.fixture
def buffer() -> Buffer:
    """Two checkpoints, two gaps and two destructions without a receipt."""
    made = opened(memory())
    made.checkpoint([envelope(box(samples=7)), envelope(box(handle=OTHER), priority=Priority.LIVE)])
    made._db.execute("insert into gap values (?, 1, 3, 'evicted', 9), (?, 5, 5, 'corrupt', 0)", (b"s" * 8, b"s" * 8))
    made._db.execute("insert into destroyed values (?, 1, 1, 2, 2, 6), (?, 2, 2, 1, 0, 3)", (b"d" * 8, b"e" * 8))
    return made


def test_what_somebody_wrote_stays(buffer: Buffer) -> None:
    assert buffer.promote() == 2
    assert (len(table(buffer, "gap")), len(table(buffer, "destroyed"))) == (2, 2)
    assert buffer.counts()["rows_corrupt"] == 0


@pytest.mark.parametrize(
    "change",
    [
        *(f"{name} = 'text'" for name in ("cut", "handle", "kid", "priority", "samples", "schema", "box")),
        *(f"{name} = x'00'" for name in ("cut", "handle", "kid", "priority", "schema", "box")),
        *(f"priority = {value}" for value in (0, 4, -1, "null")),
        *(f"samples = {value}" for value in (-1, 1 << 53, 9e99, "null")),
        "box = substr(box, 2)",
        "box = hex(zeroblob(length(box) / 2))",
        *(f"{name} = 'as long'" for name in ("cut", "handle", "kid")),
        *(f"{name} = 'as_long_'" for name in ("cut", "handle", "kid")),
        "schema = 'as_long_as_bytes'",
    ],
)
def test_a_checkpoint_that_nobody_wrote_is_dropped_and_the_next_start_goes_on(buffer: Buffer, change: str) -> None:
    """Each start would break off at it, and a unit that cannot start collects nothing any more."""
    buffer._db.execute(f"update checkpoint set {change} where number = 1")
    assert buffer.promote() == 1
    assert [row.priority for row in waiting(buffer)] == [Priority.LIVE]
    assert (buffer.counts()["rows_corrupt"], buffer.counts()["checkpoints"]) == (1, 0)
    assert buffer.promote() == 0


@pytest.mark.parametrize(
    "change",
    [
        *(f"{name} = 'text'" for name in ("stream", "first", "last", "reason", "samples")),
        *(f"{name} = null" for name in ("last", "reason", "samples")),
        "stream = x'00'",
        "first = 0",
        "first = 4",
        "last = 5",
        "last = 1 << 53",
        "reason = 'whim'",
        "reason = x'657669637465'",
        "reason = cast(x'ff' as text)",
        "samples = -1",
    ],
)
def test_a_gap_that_nobody_wrote_does_not_keep_the_others_from_being_named(buffer: Buffer, change: str) -> None:
    """A range may not reach into the next one; which of the two is wrong nobody can tell, and the later one goes."""
    buffer._db.execute(f"update gap set {change} where first = 1")
    buffer.promote()
    assert buffer.counts()["rows_corrupt"] == 1
    assert [(each.first, each.last) for each in lost(buffer)] == [(1, 5) if change == "last = 5" else (5, 5)]


@pytest.mark.parametrize(
    "change",
    [
        *(f"{name} = 'text'" for name in ("handle", "generation", "reason", "boxes", "rows", "samples")),
        *(f"{name} = -1" for name in ("generation", "reason", "boxes", "rows", "samples")),
        "handle = x'00'",
        "reason = 4",
    ],
)
def test_a_destruction_that_nobody_wrote_is_no_receipt(buffer: Buffer, change: str) -> None:
    buffer._db.execute(f"update destroyed set {change} where handle = ?", (b"d" * 8,))
    buffer.promote()
    lid = Lid()
    while buffer.add_receipt_row(lid):
        pass
    assert [(each.handle, each.reason) for each in lid.seen] == [(b"e" * 8, DestructionReason.EPOCH)]
    assert buffer.counts()["rows_corrupt"] == 1


def test_the_largest_number_that_a_report_can_name_is_one(buffer: Buffer) -> None:
    buffer._db.execute("update checkpoint set samples = (1 << 53) - 1 where number = 1")
    buffer._db.execute("update gap set samples = (1 << 53) - 1")
    assert buffer.promote() == 2
    assert buffer.counts()["rows_corrupt"] == 0


def test_gaps_are_judged_in_the_order_of_their_numbers_not_of_their_making(buffer: Buffer) -> None:
    buffer._db.execute("insert into gap values (?, 9, 9, 'ended', 1), (?, 7, 7, 'ended', 1)", (b"s" * 8, b"s" * 8))
    buffer.promote()
    assert [each.first for each in lost(buffer)] == [1, 5, 7, 9]


def test_gaps_of_two_streams_are_judged_apart(buffer: Buffer) -> None:
    buffer._db.execute("insert into gap values (?, 2, 9, 'evicted', 1)", (b"t" * 8,))
    buffer.promote()
    assert len(table(buffer, "gap")) == 3
    assert Lost(b"s" * 8, 1, 3, "evicted", 9) in lost(buffer)


def test_a_start_that_finds_nothing_wrong_writes_nothing(buffer: Buffer) -> None:
    buffer.promote()
    add(buffer, 1)
    before = buffer._db.total_changes
    assert buffer.promote() == 0
    assert buffer._db.total_changes == before
    assert buffer.handles() == {HANDLE, OTHER}
