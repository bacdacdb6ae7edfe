"""How much was sealed under which handle on which day: counted with the row, forgotten with its grants."""

from __future__ import annotations

import sqlite3

import pytest

from carnet_agent.buffer import Buffer
from carnet_agent.buffer.sealed import Sealed
from tests.agent.bufferkit import HANDLE, OTHER, Statements, add, box, envelope, opened, table, waiting

MONDAY, TUESDAY = "2026-03-02", "2026-03-03"


def seal(buffer: Buffer, day: str, handle: bytes = HANDLE) -> None:
    """One envelope with one box of three samples."""
    buffer.add_all([envelope(box(handle=handle))], day=day)


def test_boxes_and_samples_of_a_day_and_handle_add_up(buffer: Buffer) -> None:
    """Over the boxes of a window and over windows; days come in their order, handles in theirs."""
    both = envelope(box(samples=2), box(handle=OTHER, index=1, samples=5))
    buffer.add_all([both, envelope(box(samples=7))], day=TUESDAY)
    seal(buffer, TUESDAY)
    seal(buffer, MONDAY)
    assert buffer.sealed.all() == [
        Sealed(MONDAY, HANDLE, 1, 3),
        Sealed(TUESDAY, HANDLE, 3, 12),
        Sealed(TUESDAY, OTHER, 1, 5),
    ]


def test_numbers_larger_than_a_byte_are_kept(buffer: Buffer) -> None:
    buffer.add_all([envelope(box(samples=70_000)) for _ in range(300)], day=MONDAY)
    assert buffer.sealed.all() == [Sealed(MONDAY, HANDLE, 300, 21_000_000)]


def test_how_it_lies_on_the_disk_stays(buffer: Buffer) -> None:
    """Units in the field have it like this."""
    seal(buffer, MONDAY)
    found = {name: value for name, value in table(buffer, "meta") if name.startswith("sealed")}
    assert found == {"sealed 2026-03-02 6868686868686868": bytes([0] * 7 + [1] + [0] * 7 + [3])}


def test_what_is_nobodys_reading_is_not_counted(buffer: Buffer) -> None:
    """A health row or a schema has the handle that stands for nobody."""
    seal(buffer, MONDAY, bytes(8))
    assert buffer.sealed.all() == []


def test_without_a_known_time_it_is_of_no_day(buffer: Buffer) -> None:
    """As everything that a crash has left."""
    add(buffer, 1)
    buffer.checkpoint([envelope(box(samples=4))])
    assert buffer.sealed.all() == [Sealed("", HANDLE, 1, 3)]
    buffer.promote()
    assert buffer.sealed.all() == [Sealed("", HANDLE, 2, 7)]


def test_it_is_counted_with_the_row_or_not_at_all(connection: sqlite3.Connection, buffer: Buffer) -> None:
    """One commit; where the row fails, nothing was sealed."""
    statements = Statements(buffer)
    seal(buffer, MONDAY)
    assert statements.commits == 1
    assert opened(connection).sealed.all() == [Sealed(MONDAY, HANDLE, 1, 3)]
    broken = envelope(box(), box(index=1), cut=b"short")
    with pytest.raises(Exception, match="out of range"):
        buffer.add_all([broken], day=MONDAY)
    assert (len(waiting(buffer)), buffer.sealed.all()) == (1, [Sealed(MONDAY, HANDLE, 1, 3)])


def test_a_handle_is_forgotten_with_all_its_days(buffer: Buffer) -> None:
    for day, handle in ((MONDAY, HANDLE), (TUESDAY, HANDLE), ("", HANDLE), (MONDAY, OTHER)):
        seal(buffer, day, handle)
    buffer.sealed.forget({HANDLE}, "")
    assert buffer.sealed.all() == [Sealed(MONDAY, OTHER, 1, 3)]


def test_days_before_the_last_that_is_kept_are_forgotten(buffer: Buffer) -> None:
    """The day itself is kept, and what is of no known day."""
    for day in ("", "2026-03-01", MONDAY, TUESDAY):
        seal(buffer, day)
    buffer.sealed.forget((), MONDAY)
    assert [one.day for one in buffer.sealed.all()] == ["", MONDAY, TUESDAY]


def test_to_forget_is_one_commit_and_none_where_nothing_goes(buffer: Buffer) -> None:
    for day in (MONDAY, TUESDAY):
        seal(buffer, day)
    statements = Statements(buffer)
    buffer.sealed.forget({OTHER}, MONDAY)
    assert statements.commits == 0
    buffer.sealed.forget({HANDLE}, MONDAY)
    assert (statements.commits, buffer.sealed.all()) == (1, [])


def test_the_end_of_a_tenure_leaves_no_count(buffer: Buffer) -> None:
    seal(buffer, MONDAY)
    buffer.wipe()
    assert buffer.sealed.all() == []
    seal(buffer, TUESDAY)
    assert buffer.sealed.all() == [Sealed(TUESDAY, HANDLE, 1, 3)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("'sealed x'", "x'01'"),
        ("'sealed x y z'", "x'01'"),
        ("'sealed x no'", "x'01'"),
        ("cast(x'7365616c656420ff' as text)", "x'01'"),
        ("'sealed 2026-03-02 6f'", "7"),
        ("'sealed 2026-03-02 6f'", "null"),
        ("'sealed 2026-03-02 6f'", "'text'"),
    ],
)
def test_a_damaged_count_is_passed_over_and_holds_nothing_up(buffer: Buffer, name: str, value: str) -> None:
    """It could not be told; but the list, the end of a consent and a sale read all of them."""
    seal(buffer, MONDAY)
    buffer._db.execute(f"insert into meta values ({name}, {value})")
    assert buffer.sealed.all() == [Sealed(MONDAY, HANDLE, 1, 3)]
    buffer.sealed.forget({HANDLE}, "")
    assert buffer.sealed.all() == []
    buffer.wipe()
    assert not [each for each in table(buffer, "meta") if each[0].startswith("sealed")]


def test_a_count_that_grew_on_the_disk_is_read_by_its_first_numbers(buffer: Buffer) -> None:
    seal(buffer, MONDAY)
    buffer._db.execute("update meta set value = cast(value || x'ff' as blob) where name glob 'sealed *'")
    assert buffer.sealed.all() == [Sealed(MONDAY, HANDLE, 1, 3)]
