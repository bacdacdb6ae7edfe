"""The end of boxes: notes in their place, and what went remembered until a receipt has told the cloud.

Law 3: whoever calls empties the write-ahead log before the receipt is made.
"""

from __future__ import annotations

import sqlite3

from carnet.envelope import destroy
from carnet.keys import SigningKey
from carnet.note import DestructionReason
from carnet_agent.buffer.rows import Destroyed


def destroy_handle(
    db: sqlite3.Connection, key: SigningKey, handle: bytes, generation: int, reason: DestructionReason
) -> int:
    """Replace every box of a handle by a note, delete its checkpoints, remember that; how many boxes."""
    places = db.execute(
        "select number, idx, samples from box where handle = ? order by number, idx", (handle,)
    ).fetchall()
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
