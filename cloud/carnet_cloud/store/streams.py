"""Streams of devices: which numbers were seen with which manifest, what is missing,
what waits for its time or schema.
"""

from __future__ import annotations

from dataclasses import dataclass

from carnet.narrowing import Mode
from carnet.times import Anchor
from carnet_cloud.store.database import Database

ANCHORS_KEEP = 256  # boots of a device whose clock is known
REPLAY_KEEP = 4096  # manifests kept below the watermark: older numbers are duplicates without a verdict


@dataclass(frozen=True, slots=True)
class Stream:
    """``watermark``: every number up to it is durable, refused or named in a gap; ``head``:
    manifest hash of that number.
    """

    watermark: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """A sealed envelope that waits, at most until ``until_ms``, for its capture time to be known."""

    device: bytes
    stream: bytes
    seq: int
    envelope: bytes
    reason: str
    received_ms: int
    until_ms: int


class Streams:
    """Numbers, gaps, schemas, clocks and waiting envelopes of devices."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, device: bytes, stream: bytes) -> Stream:
        row = self._db.execute(
            "select watermark, head from stream where device = ? and stream = ?", (device, stream)
        ).fetchone()
        return Stream(int(row[0]), bytes(row[1])) if row else Stream(0, bytes(32))

    def count(self, device: bytes) -> int:
        return int(self._db.execute("select count(*) from stream where device = ?", (device,)).fetchone()[0])

    def set(self, device: bytes, stream: bytes, value: Stream, now_ms: int) -> None:
        self._db.execute(
            "insert into stream values (?, ?, ?, ?, ?) on conflict (device, stream)"
            " do update set watermark = excluded.watermark, head = excluded.head, last_ms = excluded.last_ms",
            (device, stream, value.watermark, value.head, now_ms),
        )

    def is_begun(self, device: bytes, stream: bytes) -> bool:
        """Whether anything of this stream was ever taken."""
        row = self._db.execute("select 1 from stream where device = ? and stream = ?", (device, stream)).fetchone()
        return row is not None

    def begin(self, device: bytes, stream: bytes, now_ms: int) -> None:
        """Something of the stream was taken, whether or not its watermark moves."""
        self._db.execute(
            "insert into stream values (?, ?, 0, ?, ?) on conflict do nothing", (device, stream, bytes(32), now_ms)
        )

    # replay table

    def around(self, device: bytes, stream: bytes, seq: int) -> dict[int, tuple[bytes, bytes]]:
        """seq -> (manifest, prev) of what is known of a number and its two neighbours."""
        rows = self._db.execute(
            "select seq, manifest, prev from replay where device = ? and stream = ? and seq between ? and ?"
            " order by seq",
            (device, stream, seq - 1, seq + 1),
        )
        return {number: (bytes(manifest), bytes(prev)) for number, manifest, prev in rows}

    def remember(self, device: bytes, stream: bytes, seq: int, manifest: bytes, prev: bytes) -> None:
        self._db.execute("insert into replay values (?, ?, ?, ?, ?)", (device, stream, seq, manifest, prev))

    def forget_below(self, device: bytes, stream: bytes, watermark: int) -> None:
        self._db.execute(
            "delete from replay where device = ? and stream = ? and seq <= ?", (device, stream, watermark - REPLAY_KEEP)
        )
        self._db.execute(
            "delete from named_gap where device = ? and stream = ? and last <= ?", (device, stream, watermark)
        )

    def seen_after(self, device: bytes, stream: bytes, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """(seq, manifest) above ``seq`` in rising order."""
        rows = self._db.execute(
            "select seq, manifest from replay where device = ? and stream = ? and seq > ? order by seq limit ?",
            (device, stream, seq, limit),
        )
        return [(int(s), bytes(m)) for s, m in rows]

    def last_after(self, device: bytes, stream: bytes, seq: int) -> list[int]:
        """The highest number known, if it is above ``seq``; else nothing."""
        row = self._db.execute(
            "select max(seq) from replay where device = ? and stream = ? and seq > ?", (device, stream, seq)
        ).fetchone()
        return [int(row[0])] if row[0] is not None else []

    # gaps the device has named

    def name_gap(self, device: bytes, stream: bytes, first: int, last: int) -> None:
        self._db.execute(
            "insert into named_gap values (?, ?, ?, ?) on conflict (device, stream, first) do"
            " update set last = excluded.last where named_gap.last < excluded.last",
            (device, stream, first, last),
        )

    def gap_over(self, device: bytes, stream: bytes, seq: int) -> int:
        """The last number of a named gap that covers ``seq``, or 0."""
        row = self._db.execute(
            "select last from named_gap where device = ? and stream = ? and first <= ? and"
            " last >= ? order by last desc limit 1",
            (device, stream, seq, seq),
        ).fetchone()
        return int(row[0]) if row else 0

    # schemas

    def schema(self, device: bytes, digest: bytes) -> bytes | None:
        row = self._db.execute(
            "select document from column_schema where device = ? and hash = ?", (device, digest)
        ).fetchone()
        return bytes(row[0]) if row else None

    def schema_by_hash(self, digest: bytes) -> bytes:
        """The schema with this hash, whichever device sent it: the hash is of the document; empty if nobody did."""
        row = self._db.execute(
            "select document from column_schema where hash = ? order by device limit 1", (digest,)
        ).fetchone()
        return bytes(row[0]) if row else b""

    def add_schema(self, device: bytes, digest: bytes, document: bytes) -> None:
        self._db.execute(
            "insert into column_schema values (?, ?, ?) on conflict do nothing", (device, digest, document)
        )

    def schema_bytes(self, device: bytes) -> int:
        """Size of all schemas of a device."""
        row = self._db.execute(
            "select coalesce(sum(length(document)), 0) from column_schema where device = ?", (device,)
        ).fetchone()
        return int(row[0])

    # anchors and what waits for them

    def set_anchor(self, device: bytes, anchor: Anchor) -> None:
        """The narrowest anchor of a boot replaces the one before; of the oldest boots none is kept."""
        row = (anchor.boot_ms, anchor.earliest_ms, anchor.latest_ms, device, anchor.boot_id)
        changed = self._db.execute(
            "update anchor set boot_ms = ?, earliest_ms = ?, latest_ms = ? where device = ? and boot_id = ?", row
        )
        if changed.rowcount:
            return
        self._db.execute(
            "insert into anchor (boot_ms, earliest_ms, latest_ms, device, boot_id) values (?, ?, ?, ?, ?)", row
        )
        self._db.execute(
            "delete from anchor where device = ? and boot_id not in"
            " (select boot_id from anchor where device = ? order by latest_ms desc, boot_id limit ?)",
            (device, device, ANCHORS_KEEP),
        )

    def anchor(self, device: bytes, boot_id: bytes) -> Anchor | None:
        row = self._db.execute(
            "select boot_id, boot_ms, earliest_ms, latest_ms from anchor where device = ? and boot_id = ?",
            (device, boot_id),
        ).fetchone()
        return Anchor(*row) if row else None

    # what a device reports of itself: health (the last one), destruction receipts (all)

    def report(
        self, device: bytes, kind: str, stream: bytes, seq: int, body: bytes, now_ms: int, *, keep: bool
    ) -> None:
        if not keep:
            self._db.execute("delete from report where device = ? and kind = ?", (device, kind))
        self._db.execute(
            "insert into report values (?, ?, ?, ?, ?, ?) on conflict do nothing",
            (device, kind, stream, seq, body, now_ms),
        )

    def reports(self, device: bytes, kind: str) -> list[tuple[bytes, int]]:
        """(body, server time in ms) in the order of arrival."""
        rows = self._db.execute(
            "select body, time_ms from report where device = ? and kind = ? order by time_ms, stream, seq",
            (device, kind),
        )
        return [(bytes(body), int(time_ms)) for body, time_ms in rows]

    def set_mode(self, device: bytes, mode: Mode, now_ms: int) -> None:
        """What the driver had set when the unit checked in. It decides nothing here; it answers "why"."""
        self.report(device, "mode", b"", 0, mode.value.encode(), now_ms, keep=False)

    def mode(self, device: bytes) -> Mode:
        """What the unit said last; normal if it has never checked in."""
        said = self.reports(device, "mode")
        return Mode(said[0][0].decode()) if said else Mode.NORMAL

    def hold(self, held: Held, boot_id: bytes) -> None:
        self._db.execute(
            "insert into held values (?, ?, ?, ?, ?, ?, ?, ?)",
            (held.device, held.stream, held.seq, held.envelope, held.reason, held.received_ms, held.until_ms, boot_id),
        )

    def held_count(self, device: bytes) -> int:
        return int(self._db.execute("select count(*) from held where device = ?", (device,)).fetchone()[0])

    def held(self, device: bytes, boot_id: bytes, after: tuple[bytes, int], limit: int) -> list[Held]:
        """What waits for the clock of this boot, behind (stream, seq), in rising order."""
        rows = self._db.execute(
            "select device, stream, seq, envelope, reason, received_ms, until_ms from held"
            " where device = ? and boot_id = ? and (stream, seq) > (?, ?)"
            " order by stream, seq limit ?",
            (device, boot_id, *after, limit),
        )
        return [Held(*row) for row in rows]

    def held_past(self, now_ms: int, limit: int) -> list[Held]:
        rows = self._db.execute(
            "select device, stream, seq, envelope, reason, received_ms, until_ms from held where until_ms <= ?"
            " order by until_ms, device, stream, seq limit ?",
            (now_ms, limit),
        )
        return [Held(*row) for row in rows]

    def release(self, device: bytes, stream: bytes, seq: int) -> None:
        self._db.execute("delete from held where device = ? and stream = ? and seq = ?", (device, stream, seq))

    def release_all(self, device: bytes) -> int:
        """Nothing of the device waits any more; how many envelopes did."""
        return self._db.execute("delete from held where device = ?", (device,)).rowcount
