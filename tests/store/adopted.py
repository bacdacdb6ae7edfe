"""The cloud's own tests once more, on PostgreSQL: what the product does there must not be told from SQLite.

A module adopts a suite of ``tests/cloud``; every cloud that the suite makes then has PostgreSQL for its memory.
"""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType
from typing import Any

import pytest

from carnet_cloud.store import Store
from carnet_cloud.store.postgres import PostgresStore
from tests.cloud import kit

TABLES = (
    "event", "record", "offer", "generation", "owner_key", "owner_token", "device", "counter", "stream", "replay",
    "named_gap", "column_schema", "held", "anchor", "report", "outbox_key", "outbox", "delivery", "block", "receiver",
    "shard", "replay_question", "replay_item", "shown", "tally", "log", "log_leaf", "log_node",
)  # fmt: skip
KEPT = {"carnet_version", "incarnation"}
"""Of what is no test's."""


def adopt(suite: ModuleType, into: dict[str, Any], *, without: Collection[str]) -> None:
    """Its tests and fixtures; ``without``: tests that are about SQLite's file or connection."""
    chosen = {n: v for n, v in vars(suite).items() if n.startswith("test_") or type(v).__name__.startswith("Fixture")}
    unknown = set(without) - set(chosen)
    assert not unknown, f"no such tests: {unknown}"
    into.update({name: value for name, value in chosen.items() if name not in without})
    into["on_postgres"] = on_postgres


@pytest.fixture(autouse=True)
def on_postgres(emptied: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cloud of these tests remembers in."""
    monkeypatch.setattr(kit, "memory_store", lambda: emptied)


def empty(store: Store) -> None:
    """As it was when it was made; quicker than another database."""
    with store.transaction() as t:
        for table in TABLES:
            t.counters._db.execute(f"delete from {table}")
        t.consents.set_journal_lines(0)
