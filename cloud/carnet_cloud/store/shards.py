"""The receivers on a store and the shards that each of them serves.

Law: a shard has one receiver at a time. Who lives is told by the store's clock; a receiver that nobody has buried goes
on with what is its own, however late its sign of life is.
"""

from __future__ import annotations

from collections.abc import Iterable

from carnet_cloud.store.database import Database


class Shards:
    """Signs of life and leases."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def live(self, member: bytes, until_ms: int) -> None:
        """A sign of life; a receiver that was buried begins anew, without a shard."""
        self._db.execute(
            "insert into receiver values (?, ?) on conflict (member) do update set until_ms = excluded.until_ms",
            (member, until_ms),
        )

    def receivers(self) -> dict[bytes, int]:
        """Every receiver that nobody has buried, and until when it surely lives."""
        rows = self._db.execute("select member, until_ms from receiver order by member")
        return {bytes(member): int(until_ms) for member, until_ms in rows}

    def bury(self, member: bytes) -> None:
        """It serves nothing any more."""
        self._db.execute("delete from shard where member = ?", (member,))
        self._db.execute("delete from receiver where member = ?", (member,))

    def owners(self) -> dict[int, bytes]:
        """Shard -> the receiver that serves it."""
        rows = self._db.execute("select shard, member from shard order by shard")
        return {int(shard): bytes(member) for shard, member in rows}

    def of(self, member: bytes) -> frozenset[int]:
        """What a receiver serves."""
        rows = self._db.execute("select shard from shard where member = ? order by shard", (member,))
        return frozenset(int(row[0]) for row in rows)

    def take(self, member: bytes, shards: Iterable[int]) -> None:
        """Shards that nobody serves."""
        self._db.executemany("insert into shard values (?, ?)", [(shard, member) for shard in shards])

    def give_back(self, member: bytes, shards: Iterable[int]) -> None:
        self._db.executemany("delete from shard where shard = ? and member = ?", [(shard, member) for shard in shards])
