"""What of the buffer our own signature vouches for: a disk changes bytes without a word, and SQLite sees only its own.

Law 5: a row that nobody can ever take is named as lost. It is neither sent for ever nor in the way of any other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

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

    def unreadable(self, numbers: Iterable[int]) -> list[Dropped]:
        """Those of these rows whose frame is so damaged that nobody finds the boxes in it."""
        query = "select number, stream, seq, samples, envelope from row where number = ?"
        rows = (self._db.execute(query, (number,)).fetchone() for number in sorted(numbers))
        return [row[:4] for row in rows if row and _readable(row[4]) is None]

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


def _readable(data: object) -> Envelope | None:
    try:
        return _parsed(data)
    except Error:
        return None


def _parsed(data: object) -> Envelope:
    if not isinstance(data, bytes):
        raise SignatureError("row_type", "a row holds no bytes")
    return parse_envelope(data)
