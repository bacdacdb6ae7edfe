"""Streams of a damaged buffer of which nobody has said yet that they go on as this disk knows them.

Law 5: a disk that had lied about what it wrote and was damaged afterwards gives back rows whose numbers an earlier life
may have used for others. So before anything is sent the cloud is asked what it has of such a stream; what it may have
otherwise becomes a counted gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from carnet.ack import NO_HASH, Ack
from carnet_agent.buffer.disk import Disk

UNPROVEN: Final = "unproven "
"""What its entries are named by, before the stream."""
_NAME: Final = UNPROVEN + "[0-9a-f]" * 16
_NUMBER_BYTES: Final = 8


class Unproven:
    """In one buffer: stream -> the number above which it is unproven. ``manifest`` is `Buffer.manifest`."""

    def __init__(self, disk: Disk, manifest: Callable[[bytes, int], bytes | None]) -> None:
        self._disk = disk
        self._manifest = manifest

    def all(self) -> dict[bytes, int]:
        """All of them, ascending; an entry whose name the disk has damaged is nobody's."""
        rows = self._disk.db.execute("select name, value from meta where name glob ? order by name", (_NAME,))
        return {bytes.fromhex(name.removeprefix(UNPROVEN)): int.from_bytes(value, "big") for name, value in rows}

    def head(self, stream: bytes) -> tuple[int, bytes] | None:
        """The last number of a stream that is certain, with its manifest hash; None if the stream is none of these."""
        above = self.all().get(stream)
        if above is None:
            return None
        ours = self._manifest(stream, above)
        return (0, NO_HASH) if ours is None else (above, ours)

    def add(self, streams: Mapping[bytes, int]) -> None:
        """Part of the transaction that takes up their rows."""
        for stream, above in streams.items():
            self._disk.set_meta(UNPROVEN + stream.hex(), above.to_bytes(_NUMBER_BYTES, "big"))

    def settle(self, ack: Ack) -> int:
        """The cloud has said what it has of a stream. What it may have otherwise than we becomes a gap ``rolled_back``;
        how many samples that are.
        """
        stream, above = ack.stream, self.all()[ack.stream]
        ours = self._manifest(stream, ack.watermark)
        if ours is not None and ack.head != NO_HASH:
            # the same envelope there is the same history up to there; after another one nothing of ours is certain
            above = max(above, ack.watermark) if ours == ack.head else 0
        query = "select number, stream, seq, samples from row where stream = ? and seq > ?"
        rows = self._disk.db.execute(query, (stream, above)).fetchall() if ack.known > above else []
        with self._disk.transaction():
            lost = self._disk.give_up(rows, "rolled_back")
            self._disk.db.execute("delete from meta where name = ?", (UNPROVEN + stream.hex(),))
        return sum(row[3] for row in lost)

    def wipe(self) -> None:
        """Part of a transaction that forgets all rows."""
        self._disk.db.execute("delete from meta where name glob 'unproven *'")
