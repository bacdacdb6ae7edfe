"""Why a reading was not forwarded: one row per (vehicle, record, path, reason), the answer to ``carnet-cloud why``."""

from __future__ import annotations

from dataclasses import dataclass

from carnet_cloud.store.database import Database


@dataclass(frozen=True, slots=True)
class Block:
    """``samples`` readings of ``path`` were kept from ``record`` for ``reason`` between the two server times (ms)."""

    record: str
    path: str
    reason: str
    samples: int
    first_ms: int
    last_ms: int


class Blocks:
    """Adds up what was blocked."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, vehicle: bytes, record: str, path: str, reason: str, samples: int, now_ms: int) -> None:
        self._db.execute(
            "insert into block values (?, ?, ?, ?, ?, ?, ?) on conflict (vehicle, record, path, reason)"
            " do update set samples = block.samples + excluded.samples, last_ms = excluded.last_ms",
            (vehicle, record, path, reason, samples, now_ms, now_ms),
        )

    def of(self, vehicle: bytes) -> list[Block]:
        rows = self._db.execute(
            "select record, path, reason, samples, first_ms, last_ms from block where vehicle"
            " = ? order by record, path, reason",
            (vehicle,),
        )
        return [Block(*row) for row in rows]

    def all(self) -> list[tuple[bytes, Block]]:
        rows = self._db.execute("select * from block order by vehicle, record, path, reason")
        return [(bytes(row[0]), Block(*row[1:])) for row in rows]
