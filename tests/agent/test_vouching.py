"""Which rows our own signature vouches for, which boxes can still be found, and what is given up."""

from __future__ import annotations

import pytest

from carnet.errors import Error
from carnet.note import DestructionReason
from carnet_agent.buffer import Buffer, Lost
from carnet_agent.buffer.vouching import vouched
from tests.agent.bufferkit import (
    DEVICE,
    HANDLE,
    KEY,
    OTHER,
    Statements,
    add,
    box,
    envelope,
    flip,
    lost,
    memory,
    table,
    waiting,
)

FRAME, BODY = 0, 400


def test_a_row_in_the_place_of_another_is_not_sent(buffer: Buffer) -> None:
    """Its signature holds, but its number is not the one that an acknowledgement would free."""
    add(buffer, 2)
    first, second = waiting(buffer)
    assert buffer.vouching.holds(first)
    buffer._db.execute("update row set envelope = ? where seq = 1", (second.envelope,))
    assert not buffer.vouching.holds(waiting(buffer)[0])


def test_what_is_not_ours_says_why(buffer: Buffer) -> None:
    add(buffer, 1)
    (row,) = waiting(buffer)
    reasons = []
    for data, device in ((row.envelope, b"x" * 16), ("text", DEVICE), (row.envelope[:-1], DEVICE)):
        with pytest.raises(Error) as caught:
            vouched(data, device, KEY)
        reasons.append(caught.value.reason)
    assert reasons == ["row_foreign", "row_type", "envelope_length"]


@pytest.mark.parametrize("value", ["null", "'text'", "7", "x''"])
def test_a_row_of_another_type_is_not_sent(buffer: Buffer, value: str) -> None:
    add(buffer, 1)
    buffer._db.execute(f"update row set envelope = {value}")
    (row,) = waiting(buffer)
    assert not buffer.vouching.holds(row)
    assert buffer.manifest(buffer.stream, 0) is None


def test_a_row_of_another_unit_is_not_sent(buffer: Buffer) -> None:
    other = Buffer(memory(), bytes(16), buffer._key, lambda n: buffer.stream[:n])
    add(other, 1)
    (row,) = waiting(other)
    assert (row.stream, row.seq) == (buffer.stream, 1)
    assert not buffer.vouching.holds(row)


def test_a_row_with_a_note_in_place_of_a_box_is_whole(buffer: Buffer) -> None:
    buffer.add_all([envelope(box(), box(handle=OTHER, index=1))])
    buffer.destroy([OTHER], 2, DestructionReason.ENDED)
    (row,) = waiting(buffer)
    assert buffer.vouching.holds(row)


@pytest.mark.parametrize("at", [FRAME, BODY])
def test_a_damaged_row_says_nothing_of_itself_or_of_the_one_before(buffer: Buffer, at: int) -> None:
    """Else one flipped bit would pass for another history, and cost the stream."""
    add(buffer, 4)
    before = [buffer.manifest(buffer.stream, seq) for seq in (1, 2, 3, 4)]
    flip(buffer, 2, at)
    assert [buffer.manifest(buffer.stream, seq) for seq in (1, 2, 3, 4)] == before
    flip(buffer, 3, at)
    assert [buffer.manifest(buffer.stream, seq) for seq in (1, 2, 3, 4)] == [before[0], None, *before[2:]]


def test_what_the_cloud_has_is_no_loss(buffer: Buffer) -> None:
    """Whether it is written that it was acknowledged, or only noted."""
    add(buffer, 3)
    rows = waiting(buffer)
    buffer.acknowledge(buffer.stream, [(1, 1)])
    buffer.write_acknowledged()
    buffer.acknowledge(buffer.stream, [(2, 2)])
    buffer.give_up([(row.number, row.stream, row.seq, row.samples) for row in rows])
    assert (table(buffer, "row"), buffer.counts()["rows_corrupt"]) == ([], 1)
    assert lost(buffer) == [Lost(buffer.stream, 3, 3, "corrupt", 3)]


def test_what_is_given_up_is_counted_and_named(buffer: Buffer) -> None:
    add(buffer, 3)
    rows = waiting(buffer)
    assert buffer.give_up([(rows[1].number, rows[1].stream, 2, 3)]) == [rows[1].number]
    assert [row.seq for row in waiting(buffer)] == [1, 3]
    assert buffer.counts()["rows_corrupt"] == 1
    assert len(table(buffer, "box")) == 2
    assert lost(buffer) == [Lost(buffer.stream, 2, 2, "corrupt", 3)]


def test_an_unreadable_row_goes_with_the_first_of_its_handles(buffer: Buffer) -> None:
    """Nobody could read the other boxes either; what is whole keeps them."""
    both = envelope(box(), box(handle=OTHER, index=1))
    buffer.add_all([both, both, envelope(box(handle=OTHER))])
    flip(buffer, 1, FRAME)
    assert buffer.destroy([HANDLE], 2, DestructionReason.ENDED) == 1
    assert [row.seq for row in waiting(buffer)] == [2, 3]
    assert buffer.handles() == {OTHER}
    assert buffer.counts()["rows_corrupt"] == 1
    assert lost(buffer) == [Lost(buffer.stream, 1, 1, "corrupt", 6)]


def test_unreadable_rows_are_each_told_once_in_their_order(buffer: Buffer) -> None:
    buffer.add_all([envelope(box(), box(handle=OTHER, index=1)), envelope(), envelope(box(handle=OTHER)), envelope()])
    buffer._db.execute("update row set envelope = 'text'")
    rows = [(number, buffer.stream, number, samples) for number, samples in ((1, 6), (2, 3), (3, 3), (4, 3))]
    assert buffer.vouching.unreadable({4: [0], 3: [0], 2: [0], 1: [0]}) == rows
    assert buffer.vouching.unreadable({3: [0], 1: [1]}) == [rows[0], rows[2]]


@pytest.mark.parametrize("change", ["number = 9", "idx = 1", "idx = -1", "idx = 64"])
def test_a_box_that_is_not_where_it_is_noted_keeps_no_end_from_coming(buffer: Buffer, change: str) -> None:
    """The end of a consent would break off at it, at every try, and nothing would leave the car any more."""
    add(buffer, 2)
    buffer._db.execute(f"update box set {change} where number = 1")
    assert buffer.destroy([HANDLE], 2, DestructionReason.ENDED) == 1
    assert not buffer.names([HANDLE])
    assert table(buffer, "box") == []
    assert table(buffer, "destroyed") == [(HANDLE, 2, 1, 1, 1, 3)]


def test_a_row_of_which_one_box_is_not_where_it_is_noted_goes_whole(buffer: Buffer) -> None:
    buffer.add_all([envelope(box(), box(index=1))])
    buffer._db.execute("update box set idx = 9 where idx = 1")
    assert buffer.destroy([HANDLE], 2, DestructionReason.ENDED) == 0
    assert (waiting(buffer), buffer.counts()["rows_corrupt"]) == ([], 1)


@pytest.mark.parametrize("wrong", ["'text'", "null", "x'00'", "0.5"])
def test_a_number_of_samples_that_nobody_wrote_counts_as_none(buffer: Buffer, wrong: str) -> None:
    add(buffer, 2)
    buffer._db.execute(f"update box set samples = {wrong} where number = 1")
    assert buffer.destroy([HANDLE], 2, DestructionReason.ENDED) == 2
    assert table(buffer, "destroyed") == [(HANDLE, 2, 1, 2, 2, 3)]


def test_a_box_that_is_a_note_already_is_no_box(buffer: Buffer) -> None:
    buffer.add_all([envelope()])
    (noted,) = table(buffer, "box")
    buffer.destroy([HANDLE], 2, DestructionReason.ENDED)
    buffer._db.execute("insert into box values (?, ?, ?, ?, ?)", noted)
    assert buffer.destroy([HANDLE], 2, DestructionReason.ENDED) == 0
    assert not buffer.names([HANDLE])


def test_the_boxes_of_an_unreadable_row_leave_the_disk_at_once(buffer: Buffer) -> None:
    """Their consent has ended as that of the others has; no box is counted as destroyed, a gap tells of them."""
    add(buffer, 1)
    flip(buffer, 1, FRAME)
    statements = Statements(buffer)
    assert buffer.destroy([HANDLE], 2, DestructionReason.ENDED) == 0
    assert "wal_checkpoint" in statements.seen[-1]
    assert (buffer.handles(), buffer.unreported()) == (set(), set())


def test_a_row_whose_boxes_can_be_found_is_not_given_up_for_a_damaged_one(buffer: Buffer) -> None:
    """What is left of it is not sent (`holds`), but its end comes first."""
    add(buffer, 1)
    flip(buffer, 1, BODY)
    assert buffer.vouching.unreadable({1: [0]}) == []
    assert buffer.destroy([HANDLE], 2, DestructionReason.ENDED) == 1


def test_a_schema_of_another_type_is_as_good_as_lost(buffer: Buffer) -> None:
    buffer.add_all([], schemas={b"h" * 16: b"document"})
    for value in ("'text'", "7", "null"):
        buffer._db.execute(f"update schema set document = {value}")
        assert buffer.schema(b"h" * 16) is None
