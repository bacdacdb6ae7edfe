"""Rows of the small tables that nobody can have written: what a disk has made of a checkpoint, a gap, a destruction.

Law 5: they are dropped and counted, once, at a start. Whoever reads one would break off, at every try. What a disk
changes within what is plausible nobody sees here; of a checkpoint's box the cloud finds out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from carnet.bodies import GAP_REASONS
from carnet.box import is_box_size
from carnet.ids import STREAM_BYTES
from carnet.keys import KID_BYTES
from carnet.limits import NUMBER_MAX
from carnet.note import DestructionReason
from carnet_agent.buffer.rows import Priority

HANDLE_BYTES, CUT_BYTES, SCHEMA_BYTES = 8, 8, 16


def drop_implausible(db: sqlite3.Connection) -> int:
    """Delete them, in the caller's transaction; how many."""
    count = 0
    for query, delete, is_plausible in _TABLES:
        before: tuple[Any, ...] = ()
        for rowid, *row in db.execute(query).fetchall():
            if is_plausible(tuple(row), before):
                before = tuple(row)
            else:
                db.execute(delete, (rowid,))
                count += 1
    return count


def _is_checkpoint(row: tuple[Any, ...], _before: tuple[Any, ...]) -> bool:
    cut, handle, kid, priority, samples, schema, box = row
    sizes = ((cut, CUT_BYTES), (handle, HANDLE_BYTES), (kid, KID_BYTES), (schema, SCHEMA_BYTES))
    return (
        all(_is_bytes(*each) for each in sizes)
        and priority in set(Priority) - {Priority.KEEP}
        and _is_number(samples)
        and isinstance(box, bytes)
        and is_box_size(len(box))
    )


def _is_gap(row: tuple[Any, ...], before: tuple[Any, ...]) -> bool:
    """``before``: the range before it, which it may not overlap."""
    stream, first, last, reason, samples = row
    return (
        _is_bytes(stream, STREAM_BYTES)
        and all(_is_number(each) for each in (first, last, samples))
        and 1 <= first <= last
        and reason in {each.encode() for each in GAP_REASONS}
        and not (before and before[0] == stream and first <= before[2])
    )


def _is_destroyed(row: tuple[Any, ...], _before: tuple[Any, ...]) -> bool:
    handle, reason, *numbers = row
    is_known = reason in set(DestructionReason)
    return _is_bytes(handle, HANDLE_BYTES) and is_known and all(_is_number(each) for each in numbers)


def _is_bytes(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _is_number(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= NUMBER_MAX


_TABLES: Final[tuple[tuple[str, str, Callable[[tuple[Any, ...], tuple[Any, ...]], bool]], ...]] = (
    (
        "select rowid, cut, handle, kid, priority, samples, schema, box from checkpoint",
        "delete from checkpoint where rowid = ?",
        _is_checkpoint,
    ),
    (
        "select rowid, stream, first, last, cast(reason as blob), samples from gap order by stream, first",
        "delete from gap where rowid = ?",
        _is_gap,
    ),
    (
        "select rowid, handle, reason, generation, boxes, rows, samples from destroyed",
        "delete from destroyed where rowid = ?",
        _is_destroyed,
    ),
)
