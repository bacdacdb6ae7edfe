"""The replayer of dm-log-writes reads its log as the kernel writes it and makes every disk that a cut leaves."""

from __future__ import annotations

import io
import random

import pytest

from tests.system.guest.logwrites import DISCARD, ENTRY, FLUSH, FUA, MAGIC, MARK, SECTOR_BYTES, SUPER, parse, states

BLOCK = 8
"""Sectors."""


def sector(data: bytes) -> bytes:
    return data.ljust(SECTOR_BYTES, b"\0")


def write(block: int, letter: bytes, flags: int = 0) -> bytes:
    data = letter * SECTOR_BYTES * BLOCK
    return sector(ENTRY.pack(block * BLOCK, BLOCK, flags, 0)) + data


def mark(text: bytes) -> bytes:
    return sector(ENTRY.pack(0, 0, MARK, len(text)) + text)


FLUSHED = sector(ENTRY.pack(0, 0, FLUSH, 0))


def log(*entries: bytes, magic: int = MAGIC) -> io.BytesIO:
    return io.BytesIO(sector(SUPER.pack(magic, 1, len(entries), SECTOR_BYTES)) + b"".join(entries))


def letters(disk: bytearray) -> str:
    """One for each block."""
    return disk[:: SECTOR_BYTES * BLOCK].decode()


def test_entries_are_read_in_their_order() -> None:
    found = parse(log(write(1, b"a", FUA), mark(b"promise"), FLUSHED))
    assert [(entry.sector, entry.flags, len(entry.data), entry.mark) for entry in found] == [
        (BLOCK, FUA, SECTOR_BYTES * BLOCK, ""),
        (0, MARK, 0, "promise"),
        (0, FLUSH, 0, ""),
    ]


def test_what_is_no_log_or_is_not_replayed_is_refused() -> None:
    with pytest.raises(ValueError, match="no log"):
        parse(log(magic=1))
    with pytest.raises(ValueError, match="discard"):
        parse(log(sector(ENTRY.pack(0, 8, DISCARD, 0))))


def test_what_was_flushed_is_there_and_of_the_rest_any_part() -> None:
    """Whole blocks, and never a promise before what it rests on."""
    entries = parse(log(write(0, b"a"), write(1, b"b"), FLUSHED, mark(b"1"), write(0, b"c"), write(2, b"d", FUA)))
    base = b"-" * SECTOR_BYTES * BLOCK * 3
    found = [
        (state.reached, len(state.marks), letters(state.disk))
        for seed in range(40)
        for state in states(base, entries, random.Random(seed))
    ]
    assert {disk for reached, _, disk in found if reached == 0} == {"---", "a--", "-b-", "ab-"}
    assert {(marks, disk) for reached, marks, disk in found if reached in (3, 4)} == {
        (0, "ab-"),
        *((1, disk) for disk in ("ab-", "cb-", "abd", "cbd")),
    }
    assert {(marks, disk) for reached, marks, disk in found if reached == 6} == {(1, "cbd")}


def test_only_some_of_the_points_may_be_chosen_but_the_ends_always_are() -> None:
    entries = parse(log(*(write(0, bytes([letter]), FUA) for letter in range(65, 91))))
    base = b"-" * SECTOR_BYTES * BLOCK
    whole = [state.reached for state in states(base, entries, random.Random(1))]
    some = [state.reached for state in states(base, entries, random.Random(1), 0.1)]
    assert len(whole) == 2 * len(entries)
    assert {1, len(entries)} < set(some) < set(whole)
