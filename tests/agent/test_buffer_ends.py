"""What ends in the buffer, and what is left of it: boxes, tenures, streams, schemas; and what is counted."""

from __future__ import annotations

import pytest

from carnet.envelope import NO_PREVIOUS, parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.note import DestructionReason
from carnet_agent.buffer import Buffer, Destroyed, Lost, NewBox, Priority
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
    table,
    waiting,
)


def test_a_destruction_takes_every_box_of_its_handles_and_counts_each(buffer: Buffer) -> None:
    buffer.add_all([envelope(box(), box(handle=OTHER, index=1, samples=5)), envelope(), envelope(box(handle=OTHER))])
    buffer.checkpoint([envelope(box(samples=10)), envelope(box(handle=OTHER))])
    assert buffer.destroy([HANDLE, HANDLE, b"x" * 8], 9, DestructionReason.EPOCH) == 3
    assert [row.samples for row in waiting(buffer)] == [5, 0, 3]
    notes = [[part.note for part in parse_envelope(row.envelope).parts] for row in waiting(buffer)]
    assert [[note and (note.generation, note.reason) for note in each] for each in notes] == [
        [(9, DestructionReason.EPOCH), None],
        [(9, DestructionReason.EPOCH)],
        [None],
    ]
    assert buffer.handles() == {OTHER}
    assert buffer.unreported() == {HANDLE}
    assert buffer.counts()["checkpoints"] == 1
    lid = Lid()
    assert buffer.add_receipt_row(lid)
    assert lid.seen == [Destroyed(HANDLE, 9, DestructionReason.EPOCH, 3, 2, 16)]


def test_boxes_go_some_rows_at_a_time_each_row_whole(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receipt adds up as if they had gone at once."""
    monkeypatch.setattr("carnet_agent.buffer.destruction.ROWS_AT_ONCE", 2)
    both = envelope(box(), box(handle=OTHER, index=1, samples=5))
    buffer.add_all([envelope(box(), box(index=1)), envelope(), envelope(), both, envelope(box(handle=OTHER))])
    buffer.checkpoint([envelope(box(samples=10)), envelope(box(handle=OTHER, samples=20))])
    ends = sorted([HANDLE, OTHER])
    counts, left = [], []
    while buffer.names(ends):
        counts.append(buffer.destroy(ends, 9, DestructionReason.ENDED))
        left.append(sorted({row[0] for row in table(buffer, "box")}))
    assert (counts, left) == ([5, 2, 2], [[3, 4, 5], [4, 5], []])
    assert buffer.handles() == set()
    assert table(buffer, "destroyed") == [(HANDLE, 9, 1, 6, 4, 25), (OTHER, 9, 1, 3, 2, 28)]


def test_a_handle_is_named_by_its_own_boxes_only(buffer: Buffer) -> None:
    buffer.add_all([envelope()])
    assert (buffer.names([HANDLE]), buffer.names([OTHER]), buffer.names([OTHER, HANDLE])) == (True, False, True)
    assert not buffer.names([])


def test_a_damaged_row_counts_among_those_that_go_at_once(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up; those that are whole go with the next ones."""
    monkeypatch.setattr("carnet_agent.buffer.destruction.ROWS_AT_ONCE", 2)
    add(buffer, 3)
    buffer._db.execute("update row set envelope = 'text' where number in (1, 3)")
    assert [buffer.destroy([HANDLE], 9, DestructionReason.ENDED) for _ in range(2)] == [1, 0]
    assert (buffer.names([HANDLE]), buffer.counts()["rows_corrupt"]) == (False, 2)


def test_a_handle_is_known_while_a_row_or_a_checkpoint_has_a_box_of_it(buffer: Buffer) -> None:
    buffer.add_all([envelope()])
    buffer.checkpoint([envelope(box(handle=OTHER))])
    assert buffer.handles() == {HANDLE, OTHER}
    assert buffer.promote() == 1
    assert buffer.handles() == {HANDLE, OTHER}


def test_a_destruction_of_nothing_is_not_remembered_and_empties_no_log(buffer: Buffer) -> None:
    add(buffer, 1)
    statements = Statements(buffer)
    assert buffer.destroy([OTHER], 1, DestructionReason.ENDED) == 0
    assert not [each for each in statements.seen if "wal_checkpoint" in each]
    assert buffer.unreported() == set()


def test_a_checkpoint_alone_is_a_destruction_of_no_row(buffer: Buffer) -> None:
    buffer.checkpoint([envelope(box(samples=4))])
    assert buffer.destroy([HANDLE], 2, DestructionReason.ENDED) == 1
    assert table(buffer, "destroyed") == [(HANDLE, 2, 1, 1, 0, 4)]


def test_rows_alone_are_a_destruction_of_their_samples(buffer: Buffer) -> None:
    add(buffer, 2)
    buffer.destroy([HANDLE], 2, DestructionReason.ENDED)
    assert table(buffer, "destroyed") == [(HANDLE, 2, 1, 2, 2, 6)]


def test_receipts_come_in_the_order_of_their_handles(buffer: Buffer) -> None:
    """Whichever consent ended first: a simulation repeats."""
    buffer.add_all([envelope(), envelope(box(handle=OTHER))])
    for handle in (OTHER, HANDLE):
        buffer.destroy([handle], 1, DestructionReason.ENDED)
    lid = Lid()
    while buffer.add_receipt_row(lid):
        pass
    assert [each.handle for each in lid.seen] == [HANDLE, OTHER]


def test_two_destructions_of_a_handle_are_one_receipt_of_the_last_generation(buffer: Buffer) -> None:
    for generation in (4, 5):
        buffer.add_all([envelope()])
        buffer.checkpoint([envelope(box(samples=1))])
        buffer.destroy([HANDLE], generation, DestructionReason.ENDED)
    assert table(buffer, "destroyed") == [(HANDLE, 5, 1, 4, 2, 8)]


def test_a_receipt_is_kept_like_a_consent_and_one_handle_each(buffer: Buffer) -> None:
    buffer.add_all([envelope(), envelope(box(handle=OTHER))])
    buffer.destroy([HANDLE, OTHER], 1, DestructionReason.ENDED)
    lid = Lid()
    assert [buffer.add_receipt_row(lid) for _ in range(3)] == [True, True, False]
    assert [each.handle for each in lid.seen] == [HANDLE, OTHER]
    receipts = buffer.to_send(Priority.KEEP, (), 9)
    assert [row.type for row in receipts] == [EnvelopeType.DESTRUCTION_RECEIPT] * 2
    assert [parse_envelope(row.envelope).header.cut for row in receipts] == lid.cuts
    assert [len(each) for each in lid.cuts] == [8, 8]


def test_a_handle_that_stands_for_nobody_is_forgotten_without_a_receipt(buffer: Buffer) -> None:
    buffer.add_all([envelope()])
    buffer.destroy([HANDLE], 1, DestructionReason.ENDED)
    nothing: NewBox | None = None
    assert buffer.add_receipt_row(lambda *_: nothing)
    assert buffer.unreported() == set()
    assert buffer.last_seq == 1


def test_wiping_leaves_nothing_of_the_tenure(buffer: Buffer) -> None:
    """Rows, boxes, checkpoints, schemas, gaps, receipts and the name of the stream; the next begins without a past."""
    buffer.add_all([envelope(), envelope(box(handle=OTHER)), envelope()], schemas={SCHEMA: b"document"})
    buffer.checkpoint([envelope()])
    buffer.reject(buffer.stream, 3, manifest(buffer, 3), "refused")
    buffer.destroy([OTHER], 1, DestructionReason.ENDED)
    buffer.acknowledge(buffer.stream, [(1, 1)])
    old = buffer.stream
    statements = Statements(buffer)
    buffer.wipe()
    assert [each for each in statements.seen if "wal_checkpoint" in each]
    assert {name: table(buffer, name) for name in ("row", "box", "checkpoint", "schema", "gap", "destroyed")} == {
        name: [] for name in ("row", "box", "checkpoint", "schema", "gap", "destroyed")
    }
    assert buffer.stream != old
    assert at(buffer)[1:] == (b"", 0, NO_PREVIOUS, (0, NO_PREVIOUS))
    add(buffer, 1)
    assert [row.seq for row in waiting(buffer)] == [1]


def test_a_new_stream_counts_what_it_loses_and_keeps_what_is_of_others(buffer: Buffer) -> None:
    add(buffer, 3)
    buffer.acknowledge(buffer.stream, [(2, 2)])
    buffer.checkpoint([envelope(box(samples=10))])
    buffer._db.execute("update row set stream = ?, seq = 9 where seq = 3", (ANOTHER_STREAM,))
    old = buffer.stream
    assert buffer.new_stream() == 3 + 10
    assert [row.stream for row in waiting(buffer)] == [ANOTHER_STREAM]
    assert [row[0] for row in table(buffer, "box")] == [3]
    assert buffer.counts()["checkpoints"] == 0
    assert lost(buffer) == [Lost(old, 1, 1, "rolled_back", 3)]
    assert buffer.previous_stream == old


def test_a_second_new_stream_removes_the_rows_of_the_first(buffer: Buffer) -> None:
    """By their own numbers, which are no longer those of the stream."""
    buffer.add(EnvelopeType.GAP, Priority.KEEP, CUT, [box()])
    kept = waiting(buffer)[0]
    buffer._db.execute("update row set stream = ? where number = ?", (ANOTHER_STREAM, kept.number))
    buffer.new_stream()
    add(buffer, 2)
    buffer.new_stream()
    assert [row.number for row in waiting(buffer)] == [kept.number]
    assert table(buffer, "box") == []


def test_schemas_go_when_neither_a_row_nor_a_checkpoint_names_them(buffer: Buffer) -> None:
    row, point, none = b"1" * 16, b"2" * 16, b"3" * 16
    buffer.add_all([envelope(box(schema=row))], schemas={none: b"n", point: b"p", row: b"r"})
    buffer.checkpoint([envelope(box(schema=point))])
    assert buffer.schema_hashes() == [row, point, none]
    buffer.drop_unused_schemas()
    assert buffer.schema_hashes() == [row, point]
    assert (buffer.schema(row), buffer.schema(point), buffer.schema(none)) == (b"r", b"p", None)


def test_the_handles_of_a_full_buffer_are_not_sorted_in_memory(buffer: Buffer) -> None:
    """They are looked at each minute. A buffer of 100,000 boxes took 3 MB for it, and the heap kept them."""
    add(buffer, 1)
    statements = Statements(buffer)
    buffer.handles()
    (query,) = statements.seen
    plan = [row[3] for row in buffer._db.execute("explain query plan " + query)]
    assert "UNION USING TEMP B-TREE" in plan
    assert "MERGE (UNION)" not in plan


def test_what_waits_is_counted_in_rows_samples_and_bytes(buffer: Buffer) -> None:
    add(buffer, 3)
    sizes = [len(row.envelope) for row in waiting(buffer)]
    buffer.acknowledge(buffer.stream, [(1, 1)])
    assert buffer.counts() == {
        "rows_waiting": 2,
        "samples_waiting": 6,
        "bytes_waiting": sum(sizes[1:]),
        "checkpoints": 0,
        "rows_evicted": 0,
        "samples_evicted": 0,
        "rows_corrupt": 0,
    }
    buffer.write_acknowledged()
    assert buffer.counts()["rows_waiting"] == 2
