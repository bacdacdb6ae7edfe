"""The log of each tenant: its leaves, those that wait for their place too, its complete subtrees, and its newest head.

Law: a leaf is queued in the transaction of what it tells, and never changes; its place is written once. The entries of
one record are queued in their order and get their places in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from carnet.ledger.merkle import Node
from carnet.limits import NUMBER_MAX
from carnet_cloud.store.database import Database


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """``step`` counts the leaves of a record from 0; ``position`` is None while the leaf waits for its place."""

    tenant: str
    record: str
    step: int
    queued_ms: int
    salt: bytes
    document: bytes
    position: int | None


@dataclass(frozen=True, slots=True)
class StoredLog:
    """How large a tenant's log is, its newest checkpoint, and who may add to it until when."""

    tenant: str
    origin: str
    size: int
    root: bytes
    checkpoint: str
    owner: bytes
    until_ms: int


_LEAF = "tenant, record, step, queued_ms, salt, document, position"
_LOG = "tenant, origin, size, root, checkpoint, owner, until_ms"


class Ledger:
    """Leaves, nodes and heads."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # leaves

    def queue(self, tenant: str, record: str, salt: bytes, document: bytes, now_ms: int) -> None:
        """A leaf waits for its place from now on. Should the clock go back, it still comes after those before it."""
        row = self._db.execute(
            "select step, queued_ms from log_leaf where record = ? order by step desc limit 1", (record,)
        ).fetchone()
        step, queued_ms = (int(row[0]) + 1, max(now_ms, int(row[1]))) if row else (0, now_ms)
        self._db.execute(
            f"insert into log_leaf ({_LEAF}) values (?, ?, ?, ?, ?, ?, null)",
            (tenant, record, step, queued_ms, salt, document),
        )

    def waiting(self, tenant: str, limit: int) -> list[StoredLeaf]:
        """Leaves without a place, in the order in which they get one."""
        rows = self._db.execute(
            f"select {_LEAF} from log_leaf where tenant = ? and position is null order by queued_ms, record, step"
            " limit ?",
            (tenant, limit),
        )
        return [StoredLeaf(*row) for row in rows]

    def tenants_waiting(self) -> list[str]:
        """Tenants with a leaf that has no place."""
        rows = self._db.execute("select distinct tenant from log_leaf where position is null order by tenant")
        return [row[0] for row in rows]

    def place(self, leaf: StoredLeaf, position: int) -> None:
        """Give a waiting leaf its place."""
        self._db.execute(
            "update log_leaf set position = ? where record = ? and step = ? and position is null",
            (position, leaf.record, leaf.step),
        )

    def leaves(self, record: str, after: int = -1, limit: int = NUMBER_MAX) -> list[StoredLeaf]:
        """The leaves of a record behind the step ``after``, in their order."""
        rows = self._db.execute(
            f"select {_LEAF} from log_leaf where record = ? and step > ? order by step limit ?", (record, after, limit)
        )
        return [StoredLeaf(*row) for row in rows]

    # the tree

    def add_nodes(self, tenant: str, nodes: Iterable[Node]) -> None:
        """Complete subtrees; one that is there already is an error of the database."""
        self._db.executemany(
            "insert into log_node (tenant, level, place, hash) values (?, ?, ?, ?)",
            [(tenant, node.level, node.index, node.hash) for node in nodes],
        )

    def node(self, tenant: str, level: int, index: int) -> bytes:
        """The hash of a complete subtree."""
        row = self._db.execute(
            "select hash from log_node where tenant = ? and level = ? and place = ?", (tenant, level, index)
        ).fetchone()
        return bytes(row[0])

    # the head

    def log(self, tenant: str) -> StoredLog | None:
        """None before the tenant's log begins."""
        row = self._db.execute(f"select {_LOG} from log where tenant = ?", (tenant,)).fetchone()
        return StoredLog(*row) if row else None

    def logs(self) -> list[StoredLog]:
        return [StoredLog(*row) for row in self._db.execute(f"select {_LOG} from log order by tenant")]

    def set_log(self, log: StoredLog) -> None:
        """Begin a log, or write its new head and who has the lease."""
        self._db.execute(
            f"insert into log ({_LOG}) values (?, ?, ?, ?, ?, ?, ?) on conflict (tenant) do update set"
            " size = excluded.size, root = excluded.root, checkpoint = excluded.checkpoint, owner = excluded.owner,"
            " until_ms = excluded.until_ms",
            (log.tenant, log.origin, log.size, log.root, log.checkpoint, log.owner, log.until_ms),
        )
