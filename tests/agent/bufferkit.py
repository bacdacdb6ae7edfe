"""A buffer in memory, sealed boxes for it, and what lies in it, for tests of one rule at a time."""

from __future__ import annotations

import random
import sqlite3
from typing import Any

from carnet.box import Place, Prelude, seal_box
from carnet.envelopetype import EnvelopeType
from carnet.keys import BoxKey, SigningKey
from carnet_agent.buffer import Buffer, Lost, NewBox, NewEnvelope, Priority, Row
from carnet_agent.buffer.tables import configure

DEVICE = bytes(range(16))
KEY = SigningKey.from_seed(b"k" * 32)
CLOUD = BoxKey.from_seed(b"c" * 32)
SCHEMA = b"s" * 16
CUT = b"c" * 8
HANDLE = b"h" * 8
OTHER = b"o" * 8
ANOTHER_STREAM = b"another1"


def memory(size_max: int = 1 << 20) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    configure(connection, size_max)
    return connection


def opened(connection: sqlite3.Connection, seed: int = 7) -> Buffer:
    """What a start of the agent makes of a database."""
    return Buffer(connection, DEVICE, KEY, random.Random(seed).randbytes)


def box(
    body: bytes = b"body", handle: bytes = HANDLE, index: int = 0, samples: int = 3, schema: bytes = SCHEMA
) -> NewBox:
    place = Place(EnvelopeType.DATA, index, DEVICE, b"t" * 8, CUT, KEY.kid, CLOUD.kid)
    prelude = Prelude(1, 1, b"b" * 8, 5, schema_hash=schema, records=(b"r" * 10,))
    return NewBox(CLOUD.kid, seal_box(prelude, body, CLOUD.public, place, b"e" * 32), handle, samples, schema)


def envelope(*boxes: NewBox, priority: Priority = Priority.BACKGROUND, cut: bytes = CUT) -> NewEnvelope:
    return NewEnvelope(EnvelopeType.DATA, priority, cut, boxes or (box(),))


def add(buffer: Buffer, count: int, priority: Priority = Priority.BACKGROUND, size: int = 4) -> list[int]:
    return [buffer.add(EnvelopeType.DATA, priority, CUT, [box(b"x" * size)]) for _ in range(count)]


def waiting(buffer: Buffer) -> list[Row]:
    """Everything that waits, in the order of its numbers."""
    rows = [row for priority in Priority for row in buffer.to_send(priority, (), 1000)]
    return sorted(rows, key=lambda row: row.number)


def at(buffer: Buffer) -> tuple[object, ...]:
    """Where its chain stands."""
    return buffer.stream, buffer.previous_stream, buffer.last_seq, buffer.head, buffer.offered


def manifest(buffer: Buffer, seq: int) -> bytes:
    found = buffer.manifest(buffer.stream, seq)
    assert found is not None
    return found


class Lid:
    """Seals anything, and keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.cuts: list[bytes] = []

    def __call__(self, cut: bytes, content: Any) -> NewBox:
        self.seen.append(content)
        self.cuts.append(cut)
        return box()


def lost(buffer: Buffer, limit: int = 256) -> list[Lost]:
    """The ranges of the next gap envelope."""
    lid = Lid()
    buffer.add_gap_row(lid, limit)
    return [each for ranges in lid.seen for each in ranges]


def flip(buffer: Buffer, seq: int, at: int) -> None:
    """One bit of a row's envelope is another one."""
    (data,) = buffer._db.execute("select envelope from row where seq = ?", (seq,)).fetchone()
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    buffer._db.execute("update row set envelope = ? where seq = ?", (changed, seq))


def table(buffer: Buffer, name: str) -> list[tuple[Any, ...]]:
    """Every row of a table."""
    return [tuple(row) for row in buffer._db.execute(f"select * from {name} order by 1, 2")]


class Statements:
    """What is asked of the database while this is in force."""

    def __init__(self, buffer: Buffer) -> None:
        self.seen: list[str] = []
        buffer._db.set_trace_callback(self.seen.append)

    @property
    def commits(self) -> int:
        return sum(each.lower().startswith("commit") for each in self.seen)
