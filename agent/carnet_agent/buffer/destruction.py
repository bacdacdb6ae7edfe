"""The end of boxes: notes in their place, and what went remembered until a receipt has told the cloud.

Law 3: whoever calls empties the write-ahead log before the receipt is made. A full buffer may hold hundreds of
thousands of boxes of one consent, so they go some rows at a time: in between the agent drains its buses and answers its
watchdog.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from carnet.envelope import destroy
from carnet.keys import SigningKey
from carnet.note import DestructionReason
from carnet_agent.buffer.rows import Destroyed

ROWS_AT_ONCE: Final = 512
"""In one transaction; some 50 µs each on a PC."""
Place: TypeAlias = tuple[int, int, int]
"""Where a box lies and what is in it: row number, index in its envelope, samples."""


def places_of(db: sqlite3.Connection, handles: Iterable[bytes]) -> dict[bytes, list[Place]]:
    """Where the boxes of each handle lie, in ROWS_AT_ONCE rows together at the most."""
    query = (
        "select number, idx, iif(typeof(samples) = 'integer', samples, 0) from box where handle = ? and number in"
        " (select distinct number from box where handle = ? order by number limit ?) order by number, idx"
    )
    found: dict[bytes, list[Place]] = {}
    left = ROWS_AT_ONCE
    for handle in handles:
        found[handle] = db.execute(query, (handle, handle, left)).fetchall()
        left -= len({place[0] for place in found[handle]})
    return found


def by_row(places: Iterable[Place]) -> dict[int, list[int]]:
    """Row number -> indices of the boxes in it."""
    found: dict[int, list[int]] = {}
    for number, index, _ in places:
        found.setdefault(number, []).append(index)
    return found


def is_named(db: sqlite3.Connection, handle: bytes) -> bool:
    """Whether a row still has a box of this handle."""
    return db.execute("select 1 from box where handle = ? limit 1", (handle,)).fetchone() is not None


def destroy_boxes(
    db: sqlite3.Connection,
    key: SigningKey,
    handle: bytes,
    places: Sequence[Place],
    generation: int,
    reason: DestructionReason,
) -> int:
    """Replace these boxes of a handle by notes, delete its checkpoints, remember that; how many boxes."""
    for number, index, samples in places:
        (data,) = db.execute("select envelope from row where number = ?", (number,)).fetchone()
        noted = destroy(data, index, generation, reason, key)
        db.execute("update row set envelope = ?, samples = samples - ? where number = ?", (noted, samples, number))
        db.execute("delete from box where number = ? and idx = ?", (number, index))
    open_boxes, open_samples = db.execute(
        "select count(*), coalesce(sum(samples), 0) from checkpoint where handle = ?", (handle,)
    ).fetchone()
    db.execute("delete from checkpoint where handle = ?", (handle,))
    boxes = len(places) + int(open_boxes)
    if boxes:
        db.execute(
            "insert into destroyed values (?, ?, ?, ?, ?, ?) on conflict (handle) do update set"
            " generation = excluded.generation, boxes = boxes + excluded.boxes, rows = rows + excluded.rows,"
            " samples = samples + excluded.samples",
            (
                handle,
                generation,
                int(reason),
                boxes,
                len({place[0] for place in places}),
                sum(place[2] for place in places) + int(open_samples),
            ),
        )
    return boxes


def next_destroyed(db: sqlite3.Connection) -> Destroyed | None:
    """One destruction without a receipt."""
    row = db.execute(
        "select handle, generation, reason, boxes, rows, samples from destroyed order by handle limit 1"
    ).fetchone()
    return Destroyed(*row) if row else None


def forget_destroyed(db: sqlite3.Connection, handle: bytes) -> None:
    """Its receipt is a row now."""
    db.execute("delete from destroyed where handle = ?", (handle,))
