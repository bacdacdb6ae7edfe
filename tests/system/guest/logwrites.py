"""What dm-log-writes wrote down of a disk: every write in the order in which it was safe, and what a cut leaves of it.

The kernel's Documentation/admin-guide/device-mapper/log-writes.rst: a write is logged once a flush, or its own FUA, has
made it durable. So a disk that loses its power has all up to some flush, and of what the next flush would have made
durable any part. Law: pure; whoever calls reads and writes the devices.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

SECTOR_BYTES = 512
BLOCK_BYTES = 4096
"""What a disk writes whole: ext4 needs that of its own first block. Smaller pieces are torn in ``tests/powercut``."""
MAGIC, VERSION = 0x6A736677736872, 1
SUPER, ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")
END = "dm-log-writes-end"
"""The mark that the kernel makes when the device goes."""
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


Piece = tuple[int, bytes]
"""Where, in bytes, and what."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A write of ``data`` at ``sector``; or nothing but a flush; or a ``mark``."""

    sector: int
    flags: int
    data: bytes = b""
    mark: str = ""

    @property
    def is_safe(self) -> bool:
        """Whether all before it is durable once it is."""
        return bool(self.flags & (FLUSH | FUA | MARK))


def parse(log: BinaryIO) -> list[Entry]:
    """The log device's entries. ValueError if it is no such log, or tells of what is not replayed here."""
    magic, version, count, sector_bytes = SUPER.unpack_from(log.read(SECTOR_BYTES))
    if (magic, version, sector_bytes) != (MAGIC, VERSION, SECTOR_BYTES):
        raise ValueError("no log of dm-log-writes as it is known here")
    return [_entry(log) for _ in range(count)]


def _entry(log: BinaryIO) -> Entry:
    head = log.read(SECTOR_BYTES)
    sector, sectors, flags, length = ENTRY.unpack_from(head)
    if flags & DISCARD:
        raise ValueError("a discard is not replayed: mount without it")
    if flags & MARK:
        return Entry(sector, flags, mark=head[ENTRY.size : ENTRY.size + length].decode())
    return Entry(sector, flags, log.read(sectors * SECTOR_BYTES))


@dataclass(frozen=True, slots=True)
class State:
    """A disk after a cut: how many entries were reached, the marks among them, and what the disk holds until the next
    state is asked for.
    """

    reached: int
    marks: Sequence[str]
    disk: bytearray


def states(base: bytes, entries: Sequence[Entry], source: random.Random, chosen: float = 1.0) -> Iterator[State]:
    """The disk at every safe point, and once with a part of what came until the next one, torn by blocks.

    ``chosen``: the part of the points that is taken, by chance; the first and the last always are.
    """
    disk, marks = bytearray(base), list[str]()
    points = [number for number, entry in enumerate(entries) if entry.is_safe]
    begin = 0
    for point in points:
        group = entries[begin : point + 1]
        is_wanted = point in (points[0], points[-1]) or source.random() < chosen
        if is_wanted and any(entry.data for entry in group):
            lost = _apply_partly(disk, group, source)
            yield State(begin, tuple(marks), disk)
            _apply(disk, lost)
        for entry in group:
            _apply(disk, [(entry.sector * SECTOR_BYTES, entry.data)])
            marks += [entry.mark] if entry.flags & MARK else []
        begin = point + 1
        if is_wanted:
            yield State(begin, tuple(marks), disk)


def _apply_partly(disk: bytearray, group: Sequence[Entry], source: random.Random) -> list[Piece]:
    """Write some of the blocks; what was there before, the last first."""
    lost = []
    for entry in group:
        for at in range(0, len(entry.data), BLOCK_BYTES):
            if source.random() < 0.5:
                begin, data = entry.sector * SECTOR_BYTES + at, entry.data[at : at + BLOCK_BYTES]
                lost.append((begin, bytes(disk[begin : begin + len(data)])))
                _apply(disk, [(begin, data)])
    return lost[::-1]


def _apply(disk: bytearray, pieces: Sequence[Piece]) -> None:
    for begin, data in pieces:
        disk[begin : begin + len(data)] = data
