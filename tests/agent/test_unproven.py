"""What was saved from a damaged buffer is sent only if no earlier life of the disk has used its numbers for others."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from carnet.ack import NO_HASH, Ack
from carnet.note import DestructionReason
from carnet_agent.buffer import Buffer, Lost, open_buffer
from carnet_agent.buffer.rows import Saved
from carnet_agent.buffer.salvage import Wreck
from tests.agent.bufferkit import DEVICE, HANDLE, KEY, SCHEMA, add, lost, memory, opened, table, waiting

# the rule


def saved(old: Buffer, *seqs: int, offered: bool = False) -> list[Saved]:
    rows = {row.seq: row for row in waiting(old)}
    box = (0, HANDLE, 3, SCHEMA)
    return [Saved(rows[n].envelope, rows[n].priority, rows[n].samples, (box,), offered) for n in seqs]


@pytest.fixture
def old() -> Buffer:
    old = opened(memory(), seed=1)
    add(old, 7)
    return old


def hash_of(old: Buffer, seq: int) -> bytes:
    found = old.manifest(old.stream, seq)
    assert found is not None
    return found


def test_above_the_first_that_was_not_offered_nothing_is_certain(buffer: Buffer, old: Buffer) -> None:
    buffer.adopt([*saved(old, 4, offered=True), *saved(old, 6, 7)], {}, 1)
    assert buffer.unproven.all() == {old.stream: 5}
    assert buffer.asking == old.stream
    assert buffer.knows(old.stream)
    assert buffer.unproven.head(old.stream) == (5, hash_of(old, 5))
    assert buffer.unproven.head(buffer.stream) is None
    buffer._db.execute("delete from row where seq = 6")
    assert buffer.unproven.head(old.stream) == (0, NO_HASH)


@pytest.mark.parametrize(
    ("watermark", "ranges", "kept"),
    [
        (0, (), [4, 6, 7]),
        (5, (), [4, 6, 7]),
        (6, (), [4]),
        (9, (), [4]),
        (5, ((6, 6),), [4]),
        (3, ((1, 2), (4, 5)), [4, 6, 7]),
    ],
)
def test_what_the_cloud_may_have_otherwise_becomes_a_gap(
    buffer: Buffer, old: Buffer, watermark: int, ranges: tuple[tuple[int, int], ...], kept: list[int]
) -> None:
    buffer.adopt([*saved(old, 4, offered=True), *saved(old, 6, 7)], {}, 1)
    lost(buffer)
    gone = buffer.unproven.settle(Ack(old.stream, watermark, NO_HASH, 1, ranges=ranges))
    assert [row.seq for row in waiting(buffer) if row.stream == old.stream] == kept
    assert gone == 3 * (3 - len(kept))
    assert lost(buffer) == ([Lost(old.stream, 6, 7, "rolled_back", 6)] if gone else [])
    assert (buffer.unproven.all(), buffer.asking) == ({}, buffer.stream)


@pytest.mark.parametrize(("watermark", "known", "kept"), [(3, 3, [4, 5]), (4, 4, [4, 5]), (3, 5, []), (4, 5, [4])])
def test_the_same_envelope_there_is_the_same_history_up_to_there(
    buffer: Buffer, old: Buffer, watermark: int, known: int, kept: list[int]
) -> None:
    """Its follower names it, if the row itself was acknowledged and is gone."""
    buffer.adopt(saved(old, 4, 5), {}, 1)
    ranges = ((known, known),) if known > watermark else ()
    buffer.unproven.settle(Ack(old.stream, watermark, hash_of(old, watermark), 1, ranges=ranges))
    assert [row.seq for row in waiting(buffer) if row.stream == old.stream] == kept


def test_after_another_envelope_nothing_is_certain(buffer: Buffer, old: Buffer) -> None:
    """Not even what had been offered: as in a stream that goes on."""
    buffer.adopt([*saved(old, 4, 5, offered=True), *saved(old, 6)], {}, 1)
    buffer.unproven.settle(Ack(old.stream, 4, b"f" * 32, 1))
    assert waiting(buffer) == []
    assert lost(buffer) == [Lost(old.stream, 4, 6, "rolled_back", 9)]


def test_not_even_the_first(buffer: Buffer, old: Buffer) -> None:
    buffer.adopt([*saved(old, 1, offered=True), *saved(old, 2)], {}, 1)
    assert buffer.unproven.settle(Ack(old.stream, 1, b"f" * 32, 1)) == 6


def test_an_envelope_that_is_not_here_any_more_decides_nothing(buffer: Buffer, old: Buffer) -> None:
    buffer.adopt([*saved(old, 4, offered=True), *saved(old, 7)], {}, 1)
    assert buffer.manifest(old.stream, 5) is None
    assert buffer.unproven.settle(Ack(old.stream, 5, hash_of(old, 5), 1)) == 0
    assert [row.seq for row in waiting(buffer) if row.stream == old.stream] == [4, 7]


def test_how_it_lies_on_the_disk_stays(buffer: Buffer, old: Buffer) -> None:
    """Units in the field have it like this, and the next salvage reads it."""
    buffer.adopt(saved(old, 2, 3), {}, 1)
    found = {name: value for name, value in table(buffer, "meta") if name.startswith("unproven")}
    assert found == {f"unproven {old.stream.hex()}": bytes([0] * 7 + [1])}


def test_streams_are_asked_for_one_after_the_other_and_outlast_a_start(buffer: Buffer, old: Buffer) -> None:
    third = opened(memory(), seed=2)
    add(third, 2)
    buffer.adopt([*saved(old, 2), *saved(third, 1, 2)], {}, 1)
    first, second = sorted([old.stream, third.stream])
    again = opened(buffer._db)
    assert again.asking == first
    again.unproven.settle(Ack(first, 0, NO_HASH, 1))
    assert again.asking == second
    again.wipe()
    assert again.asking == again.stream


@pytest.mark.parametrize("name", ["unproven ", "unproven no", "unproven " + "g" * 16, "unproven " + "0" * 17])
def test_an_entry_whose_name_the_disk_has_damaged_is_nobodys(buffer: Buffer, name: str) -> None:
    """Each contact would begin with an error else."""
    buffer._db.execute("insert into meta values (?, x'00')", (name,))
    assert (buffer.unproven.all(), buffer.asking) == ({}, buffer.stream)


def test_a_stream_whose_rows_have_all_gone_is_settled_all_the_same(buffer: Buffer, old: Buffer) -> None:
    buffer.adopt(saved(old, 2), {}, 1)
    buffer._db.execute("delete from row")
    assert buffer.knows(old.stream)
    assert buffer.unproven.settle(Ack(old.stream, 9, NO_HASH, 1)) == 0
    assert not buffer.knows(old.stream)


# what a damaged file says of it


def offered(file: Path) -> list[bool]:
    return [each.offered for each in Wreck([file], DEVICE, KEY)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A buffer that offered two rows, started again and wrote two more without a contact."""
    path = tmp_path / "old.db"
    found = open_buffer(path, DEVICE, KEY, bytes, 1 << 20).buffer
    add(found, 1)
    found.offer()
    add(found, 1)
    add(opened(found._db), 2)
    found._db.close()
    return path


def test_a_damaged_buffer_tells_what_it_had_offered(file: Path) -> None:
    assert offered(file) == [True, True, False, False]


@pytest.mark.parametrize(
    "statement",
    [
        "drop table meta",
        "delete from meta where name = 'offered'",
        "delete from meta where name = 'stream'",
        "update meta set value = 7 where name = 'offered'",
        "insert into meta values ('unproven zz', x'00')",
    ],
)
def test_where_it_tells_nothing_nothing_is_certain(file: Path, statement: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(statement)
    connection.close()
    assert offered(file) == [False] * 4


def test_what_was_saved_before_and_not_proven_is_not_proven_by_a_second_damage(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        (stream,) = connection.execute("select distinct stream from row").fetchone()
        connection.execute("update meta set value = x'1111111111111111' where name = 'stream'")
        connection.commit()
        assert offered(file) == [True] * 4
        name = f"unproven {stream.hex()}"
        connection.execute("insert into meta values (?, ?)", (name, (3).to_bytes(8, "big")))
    connection.close()
    assert offered(file) == [True, True, True, False]


def test_boxes_of_what_is_not_proven_are_destroyed_like_all_others(buffer: Buffer, old: Buffer) -> None:
    buffer.adopt(saved(old, 2, 3), {}, 1)
    assert buffer.destroy([HANDLE], 2, DestructionReason.ENDED) == 2
    assert buffer.handles() == set()
