"""How much was sealed under which handle on which day: counted in the transaction that stores the row.

Law: it costs no page of its own. The counts lie in ``meta``, which every row's transaction writes anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from carnet_agent.buffer.disk import Disk
from carnet_agent.buffer.rows import NewEnvelope

KEEP_DAYS: Final = 90
_HANDLE_NONE: Final = bytes(8)
_NUMBER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Sealed:
    """``day``: 2026-03-01 in UTC, empty if the unit did not know the time."""

    day: str
    handle: bytes
    boxes: int
    samples: int


class SealedCounts:
    """The counts in one buffer; what changes them is done inside a transaction of the caller's, but for `forget`."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def count(self, envelopes: Sequence[NewEnvelope], day: str) -> None:
        """Add the boxes of data envelopes to what was sealed on a day."""
        boxes: Counter[bytes] = Counter()
        samples: Counter[bytes] = Counter()
        for box in (box for each in envelopes for box in each.boxes if box.handle != _HANDLE_NONE):
            boxes[box.handle] += 1
            samples[box.handle] += box.samples
        for handle in sorted(boxes):
            name = _name(day, handle)
            before = _numbers(self._disk.meta(name) or b"")
            after = before[0] + boxes[handle], before[1] + samples[handle]
            self._disk.set_meta(name, b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in after))

    def all(self) -> list[Sealed]:
        """All of them, in the order of the days."""
        query = "select cast(name as blob), value from meta where name glob 'sealed *' order by name"
        found = (parsed(*row) for row in self._disk.db.execute(query).fetchall())
        return [one for one in found if one is not None]

    def forget(self, handles: Collection[bytes], before_day: str) -> None:
        """Drop what is of these handles or of a day before then."""
        gone = [one for one in self.all() if one.handle in handles or "" < one.day < before_day]
        if gone:
            with self._disk.transaction():
                self._drop(gone)

    def wipe(self) -> None:
        """Drop all of it."""
        self._disk.db.execute("delete from meta where name glob 'sealed *'")

    def _drop(self, gone: Sequence[Sealed]) -> None:
        names = [(_name(one.day, one.handle),) for one in gone]
        self._disk.db.executemany("delete from meta where name = ?", names)


def parsed(name: bytes, value: object) -> Sealed | None:
    """An entry as it lies on the disk; None for a damaged one: that it cannot be told holds up nothing else."""
    try:
        _, day, handle = name.decode().split(" ")
        return Sealed(day, bytes.fromhex(handle), *_numbers(value))
    except (TypeError, ValueError):
        return None


def _name(day: str, handle: bytes) -> str:
    return f"sealed {day} {handle.hex()}"


def _numbers(value: Any) -> tuple[int, int]:
    """TypeError for what is no bytes."""
    return int.from_bytes(value[:_NUMBER_BYTES], "big"), int.from_bytes(value[_NUMBER_BYTES : 2 * _NUMBER_BYTES], "big")
