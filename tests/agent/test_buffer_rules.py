"""The rules of the buffer one by one: where the chain stands, what is sent, what is named."""

from __future__ import annotations

import sqlite3

import pytest

from carnet.ack import NO_HASH, Ack
from carnet.envelope import NO_PREVIOUS, parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.note import DestructionReason
from carnet_agent.buffer import Buffer, Lost, Priority
from tests.agent.bufferkit import (
    ANOTHER_STREAM,
    CUT,
    HANDLE,
    OTHER,
    SCHEMA,
    Lid,
    Statements,
    add,
    at,
    box,
    envelope,
    lost,
    manifest,
    opened,
    table,
    waiting,
)


def test_a_new_buffer_begins_at_nothing(buffer: Buffer) -> None:
    assert len(buffer.stream) == 8
    assert at(buffer)[1:] == (b"", 0, NO_PREVIOUS, (0, NO_PREVIOUS))


def test_a_start_goes_on_where_the_last_one_stood(connection: sqlite3.Connection, buffer: Buffer) -> None:
    """The stream of the first start, not one of its own."""
    add(buffer, 2)
    buffer.offer()
    again = opened(connection, seed=8)
    assert at(again) == at(buffer)
    assert add(again, 1) == [3]
    assert parse_envelope(waiting(again)[-1].envelope).header.prev == manifest(again, 2)


# what may have been sent


def test_nothing_counts_as_sent_before_the_cloud_agrees_with_the_chain(buffer: Buffer) -> None:
    add(buffer, 2)
    assert buffer.offered == (0, NO_PREVIOUS)
    buffer.offer()
    assert buffer.offered == (2, buffer.head)


def test_once_agreed_each_row_may_be_sent_from_the_transaction_that_makes_it(buffer: Buffer) -> None:
    buffer.offer()
    statements = Statements(buffer)
    add(buffer, 1)
    assert statements.commits == 1
    assert buffer.offered == (1, buffer.head)


def test_the_next_start_waits_for_the_cloud_again(connection: sqlite3.Connection, buffer: Buffer) -> None:
    """What it makes before that nobody has seen."""
    buffer.offer()
    add(buffer, 1)
    first = buffer.offered
    again = opened(connection)
    add(again, 1)
    assert again.offered == first
    again.offer()
    assert again.offered == (2, again.head)


def test_agreeing_again_writes_nothing(buffer: Buffer) -> None:
    add(buffer, 1)
    buffer.offer()
    statements = Statements(buffer)
    buffer.offer()
    assert statements.commits == 0


def test_a_new_stream_waits_for_the_cloud_and_has_offered_nothing(buffer: Buffer) -> None:
    add(buffer, 1)
    buffer.offer()
    buffer.new_stream()
    assert buffer.offered == (0, NO_PREVIOUS)
    add(buffer, 1)
    assert buffer.offered == (0, NO_PREVIOUS)


# manifests


def test_a_manifest_is_known_by_its_row_or_by_the_one_after_it(buffer: Buffer) -> None:
    add(buffer, 3)
    hashes = [manifest(buffer, seq) for seq in (1, 2, 3)]
    buffer.reject(buffer.stream, 2, hashes[1], "refused")
    assert [buffer.manifest(buffer.stream, seq) for seq in (1, 2, 3)] == hashes
    buffer.reject(buffer.stream, 3, hashes[2], "refused")
    assert [buffer.manifest(buffer.stream, seq) for seq in (1, 2, 3)] == [hashes[0], None, hashes[2]]
    add(buffer, 1)
    buffer.reject(buffer.stream, 4, manifest(buffer, 4), "refused")
    add(buffer, 1)
    assert [buffer.manifest(buffer.stream, seq) for seq in (2, 3)] == [None, None]
    assert [buffer.manifest(ANOTHER_STREAM, seq) for seq in (1, buffer.last_seq)] == [None, None]


def test_the_cloud_differs_if_it_has_something_else_under_a_number_that_we_know(buffer: Buffer) -> None:
    add(buffer, 2)
    ours = manifest(buffer, 1)

    def differs(seq: int, head: bytes) -> bool:
        return buffer.differs(Ack(buffer.stream, seq, head, 1))

    assert differs(1, b"x" * 32)
    assert [differs(1, ours), differs(1, NO_HASH), differs(3, b"x" * 32), differs(0, b"x" * 32)] == [False] * 4


# writing


def test_the_envelopes_of_a_window_are_one_commit_with_their_schemas(buffer: Buffer) -> None:
    statements = Statements(buffer)
    assert buffer.add_all([envelope(), envelope()], schemas={SCHEMA: b"document"}) == [1, 2]
    assert statements.commits == 1
    assert buffer.schema(SCHEMA) == b"document"
    assert buffer.schema(b"z" * 16) is None


def test_a_schema_that_was_damaged_is_written_again(buffer: Buffer) -> None:
    for document in (b"damaged", b"document"):
        buffer.add_all([], schemas={SCHEMA: document})
    assert buffer.schema(SCHEMA) == b"document"


def test_a_row_has_the_samples_of_its_boxes_and_each_box_its_place(buffer: Buffer) -> None:
    buffer.add_all([envelope(box(samples=2), box(handle=OTHER, index=1, samples=5, schema=b"z" * 16))])
    (row,) = waiting(buffer)
    assert (row.stream, row.seq, row.type, row.priority, row.samples) == (
        buffer.stream, 1, EnvelopeType.DATA, Priority.BACKGROUND, 7,
    )  # fmt: skip
    assert table(buffer, "box") == [(row.number, 0, HANDLE, 2, SCHEMA), (row.number, 1, OTHER, 5, b"z" * 16)]


def test_a_row_that_is_nobodys_reading_has_no_handle(buffer: Buffer) -> None:
    """No end of a grant may touch a schema or a health row."""
    buffer.add(EnvelopeType.SCHEMA, Priority.KEEP, CUT, [box()])
    assert buffer.handles() == set()
    assert buffer.destroy([HANDLE], 1, DestructionReason.ENDED) == 0


def test_checkpoints_become_rows_in_their_order_and_once(buffer: Buffer) -> None:
    first, second = box(b"1", samples=1), box(b"2", OTHER, samples=2)
    buffer.checkpoint([envelope(first, priority=Priority.LIVE, cut=b"1" * 8), envelope(second, cut=b"2" * 8)])
    assert buffer.counts()["checkpoints"] == 2
    assert buffer.promote() == 2
    assert [(row.seq, row.priority, row.samples) for row in waiting(buffer)] == [
        (1, Priority.LIVE, 1),
        (2, Priority.BACKGROUND, 2),
    ]
    parts = [parse_envelope(row.envelope).parts[0] for row in waiting(buffer)]
    assert [(part.kid, part.box) for part in parts] == [(each.kid, each.box) for each in (first, second)]
    assert buffer.handles() == {HANDLE, OTHER}
    assert buffer.promote() == 0
    assert buffer.counts()["checkpoints"] == 0


def test_a_checkpoint_of_two_boxes_is_a_fault_of_ours(buffer: Buffer) -> None:
    """The end of one would take the other out of its place."""
    with pytest.raises(AssertionError):
        buffer.checkpoint([envelope(box(), box(index=1))])


# what will never be sent


def test_nothing_lost_makes_no_gap_row(buffer: Buffer) -> None:
    lid = Lid()
    assert buffer.add_gap_row(lid) is None
    assert (lid.seen, waiting(buffer)) == ([], [])


def test_a_gap_row_is_kept_and_names_its_ranges_once(buffer: Buffer) -> None:
    add(buffer, 1)
    buffer.reject(buffer.stream, 1, manifest(buffer, 1), "refused")
    lid = Lid()
    assert buffer.add_gap_row(lid) == 2
    assert lid.seen == [[Lost(buffer.stream, 1, 1, "refused", 3)]]
    (row,) = waiting(buffer)
    assert (row.type, row.priority) == (EnvelopeType.GAP, Priority.KEEP)
    assert parse_envelope(row.envelope).header.cut == lid.cuts[0]
    assert [len(each) for each in lid.cuts] == [8]
    assert buffer.add_gap_row(lid) is None


def test_a_gap_row_names_no_more_ranges_than_it_may_and_those_of_one_stream(buffer: Buffer) -> None:
    """The others come in the next."""
    add(buffer, 5)
    first = buffer.stream
    for seq in (1, 3, 5):
        buffer.reject(first, seq, manifest(buffer, seq), "refused")
    buffer.new_stream()
    second = buffer.stream
    add(buffer, 1)
    buffer.reject(second, 1, manifest(buffer, 1), "refused")
    found = [[(each.stream, each.first) for each in lost(buffer, 2)] for _ in range(5)]
    named = {(first, seq) for seq in (1, 3, 5)} | {(first, 2), (first, 4), (second, 1)}
    assert {each for ranges in found for each in ranges} == named
    assert all(len(ranges) <= 2 and len({stream for stream, _ in ranges}) <= 1 for ranges in found)
    assert all(ranges == sorted(ranges) for ranges in found)
    assert sum(map(len, found)) == len(named)


def test_a_range_grows_only_by_a_neighbour_of_its_stream_and_reason(buffer: Buffer) -> None:
    add(buffer, 6)
    for seq, reason in ((1, "a"), (2, "b"), (4, "b"), (5, "a"), (6, "a")):
        buffer.reject(buffer.stream, seq, manifest(buffer, seq), reason)
    assert [(each.first, each.last, each.reason, each.samples) for each in lost(buffer)] == [
        (1, 1, "a", 3), (2, 2, "b", 3), (4, 4, "b", 3), (5, 6, "a", 6),
    ]  # fmt: skip


def test_equal_numbers_of_two_streams_are_two_ranges(buffer: Buffer) -> None:
    add(buffer, 3)
    buffer.reject(buffer.stream, 1, manifest(buffer, 1), "rolled_back")
    buffer.reject(buffer.stream, 3, manifest(buffer, 3), "rolled_back")
    buffer.new_stream()
    add(buffer, 2)
    old, new = buffer.previous_stream, buffer.stream
    buffer.reject(new, 2, manifest(buffer, 2), "rolled_back")
    found = [(each.stream, each.first, each.last) for _ in range(2) for each in lost(buffer)]
    assert sorted(found) == sorted([(old, 1, 3), (new, 2, 2)])


def test_a_rejected_row_goes_with_its_boxes_and_says_its_number(buffer: Buffer) -> None:
    """A number of the buffer's own, which is not the stream's after a new one has begun."""
    add(buffer, 2)
    buffer.new_stream()
    add(buffer, 2)
    number = waiting(buffer)[1].number
    assert buffer.reject(ANOTHER_STREAM, 2, manifest(buffer, 2), "refused") is None
    assert buffer.reject(buffer.stream, 1, manifest(buffer, 2), "refused") is None
    assert buffer.reject(buffer.stream, 2, manifest(buffer, 2), "refused") == number
    assert [row[0] for row in table(buffer, "box")] == [row.number for row in waiting(buffer)]
    assert buffer.row(number) is None


def test_rows_whose_schema_is_gone_become_gaps(buffer: Buffer) -> None:
    """Also where only one of their boxes names it; nobody could read the rest without its window."""
    gone = b"g" * 16
    buffer.add_all([envelope(), envelope(box(), box(index=1, samples=4, schema=gone)), envelope()])
    numbers = [row.number for row in waiting(buffer)]
    assert buffer.give_up_schema(gone) == [numbers[1]]
    assert [row.seq for row in waiting(buffer)] == [1, 3]
    assert lost(buffer) == [Lost(buffer.stream, 2, 2, "corrupt", 7)]
    statements = Statements(buffer)
    assert buffer.give_up_schema(gone) == []
    assert statements.commits == 0


def test_several_rows_whose_schema_is_gone_are_told_in_their_order(buffer: Buffer) -> None:
    add(buffer, 3)
    assert buffer.give_up_schema(SCHEMA) == [1, 2, 3]
    assert lost(buffer) == [Lost(buffer.stream, 1, 3, "corrupt", 9)]


# sending and acknowledging


def test_the_oldest_of_a_priority_that_are_not_under_way_are_sent(buffer: Buffer) -> None:
    add(buffer, 2)
    buffer.add(EnvelopeType.DATA, Priority.LIVE, CUT, [box()])
    add(buffer, 4)
    buffer.acknowledge(buffer.stream, [(1, 1)])
    send = buffer.to_send
    assert [row.seq for row in send(Priority.BACKGROUND, (), 2)] == [2, 4]
    assert [row.seq for row in send(Priority.BACKGROUND, {4}, 2)] == [2, 5]
    assert [row.seq for row in send(Priority.BACKGROUND, {2, 4, 5}, 9)] == [6, 7]
    assert [row.seq for row in send(Priority.LIVE, (), 1)] == [3]
    assert send(Priority.BACKGROUND, (), 0) == send(Priority.BACKGROUND, (), -1) == []


def test_where_there_is_no_room_nothing_is_sent(buffer: Buffer) -> None:
    """SQLite takes a negative limit for none at all."""
    add(buffer, 3)
    assert buffer.to_send(Priority.BACKGROUND, (), 0) == buffer.to_send(Priority.BACKGROUND, (), -1) == []


def test_an_empty_buffer_counts_nothing(buffer: Buffer) -> None:
    assert set(buffer.counts().values()) == {0}


def test_a_buffer_knows_its_own_stream_and_those_of_which_a_row_is_here(buffer: Buffer) -> None:
    assert buffer.knows(buffer.stream)
    assert not buffer.knows(ANOTHER_STREAM)
    add(buffer, 1)
    row = waiting(buffer)[0]
    buffer._db.execute("update row set stream = ?", (ANOTHER_STREAM,))
    assert buffer.knows(ANOTHER_STREAM)
    assert buffer.row(row.number) is not None


def test_an_acknowledgement_covers_its_ranges_with_both_ends_and_no_other_stream(buffer: Buffer) -> None:
    add(buffer, 6)
    assert buffer.acknowledge(ANOTHER_STREAM, [(1, 6)]) == set()
    assert buffer.acknowledge(buffer.stream, [(2, 3), (5, 5)]) == {2, 3, 5}
    assert [row.seq for row in waiting(buffer)] == [1, 4, 6]
    buffer.write_acknowledged()
    assert buffer.acknowledge(buffer.stream, [(1, 3)]) == {1}


def test_noted_acknowledgements_are_written_when_asked_and_cost_nothing_without(
    connection: sqlite3.Connection, buffer: Buffer
) -> None:
    add(buffer, 2)
    buffer.acknowledge(buffer.stream, [(1, 1)])
    assert [row.seq for row in waiting(opened(connection))] == [1, 2]
    buffer.write_acknowledged()
    assert [row.seq for row in waiting(opened(connection))] == [2]
    statements = Statements(buffer)
    buffer.write_acknowledged()
    assert statements.commits == 0


@pytest.mark.parametrize(("count", "commits"), [(256, 0), (257, 1)])
def test_too_many_noted_acknowledgements_are_written_by_themselves(buffer: Buffer, count: int, commits: int) -> None:
    """Each of them is passed over whenever something is sent."""
    buffer.add_all([envelope() for _ in range(300)])
    statements = Statements(buffer)
    buffer.acknowledge(buffer.stream, [(1, count)])
    assert statements.commits == commits
    assert buffer.counts()["rows_waiting"] == 300 - count


def test_a_cloud_that_forgot_gets_again_what_is_above_its_watermark(buffer: Buffer) -> None:
    """Noted or written, of this stream alone; what it still has stays acknowledged."""
    add(buffer, 6)
    buffer.acknowledge(buffer.stream, [(1, 3)])
    buffer.write_acknowledged()
    buffer.acknowledge(buffer.stream, [(4, 5)])
    assert buffer.reopen(ANOTHER_STREAM, 0) == 0
    assert [row.seq for row in waiting(buffer)] == [6]
    assert buffer.reopen(buffer.stream, 2) == 3
    assert [row.seq for row in waiting(buffer)] == [3, 4, 5, 6]
    statements = Statements(buffer)
    assert buffer.reopen(buffer.stream, 2) == 0
    assert statements.commits == 0


def test_what_is_only_noted_goes_again_from_the_watermark_on(buffer: Buffer) -> None:
    """The watermark itself is what the cloud still has."""
    add(buffer, 5)
    buffer.acknowledge(buffer.stream, [(1, 5)])
    assert buffer.reopen(buffer.stream, 3) == 2
    assert [row.seq for row in waiting(buffer)] == [4, 5]
