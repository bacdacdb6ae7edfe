"""What of the buffer our own signature vouches for: a disk changes bytes without a word, and SQLite sees only its own.

Law 5: a row that nobody can ever take is named as lost. It is neither sent for ever nor in the way of any other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from carnet.envelope import Envelope, parse_envelope, verify
from carnet.errors import Error, SignatureError
from carnet.keys import SigningKey
from carnet_agent.buffer.rows import Dropped, Row


class Vouching:
    """For the rows that ``device`` has signed with ``key``."""

    def __init__(self, connection: sqlite3.Connection, device: bytes, key: SigningKey) -> None:
        self._db = connection
        self._device = device
        self._key = key

    def holds(self, row: Row) -> bool:
        """Whether it is what was written, in the place for which it was signed."""
        return self._whole(row.stream, row.seq, row.envelope) is not None

    def envelope(self, stream: bytes, seq: int) -> Envelope | None:
        """What was written there; None if it is not here, or not any more as it was."""
        query = "select envelope from row where stream = ? and seq = ?"
        row = self._db.execute(query, (stream, seq)).fetchone()
        return self._whole(stream, seq, row[0]) if row else None

    def unreadable(self, boxes: Mapping[int, Collection[int]]) -> list[Dropped]:
        """Rows in which nobody finds the boxes that are to be there (row number -> their indices), in their order: the
        frame is damaged, or what the buffer notes beside it; or there is no such row at all.
        """
        query = "select number, stream, seq, samples, envelope from row where number = ?"
        rows = {number: self._db.execute(query, (number,)).fetchone() for number in sorted(boxes)}
        return [
            row[:4] if row else (number, b"", 0, 0)
            for number, row in rows.items()
            if row is None or not _has_boxes(row[4], boxes[number])
        ]

    def _whole(self, stream: bytes, seq: int, data: object) -> Envelope | None:
        try:
            envelope = vouched(data, self._device, self._key)
        except Error:
            return None
        return envelope if (envelope.header.stream, envelope.header.seq) == (stream, seq) else None


def vouched(data: object, device: bytes, key: SigningKey) -> Envelope:
    """The envelope in what lies in a row; an Error unless this unit signed all of it."""
    envelope = _parsed(data)
    verify(envelope, key.public)
    if envelope.header.device != device:
        raise SignatureError("row_foreign", "the row is of another device")
    return envelope


def _has_boxes(data: object, indices: Collection[int]) -> bool:
    try:
        parts = _parsed(data).parts
    except Error:
        return False
    return all(0 <= index < len(parts) and parts[index].box is not None for index in indices)


def _parsed(data: object) -> Envelope:
    if not isinstance(data, bytes):
        raise SignatureError("row_type", "a row holds no bytes")
    return parse_envelope(data)
