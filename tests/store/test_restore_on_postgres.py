"""``tests/cloud/test_restore.py`` with a store on PostgreSQL, which pg_dump copies and pg_restore puts back."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet_cloud.store.postgres import PostgresStore
from tests.cloud import test_restore
from tests.store.adopted import adopt
from tests.store.backends import INCARNATION, NOW_MS
from tests.system.postgres import Postgres

adopt(test_restore, globals(), without=set())


class Databases:
    """One for each cloud, of one server."""

    def __init__(self, server: Postgres, migrated: str) -> None:
        self._server = server
        self._migrated = migrated
        self._of: dict[Path, str] = {}

    def open(self, folder: Path) -> PostgresStore:
        if folder not in self._of:
            self._of[folder] = self._server.database(self._migrated)
        return PostgresStore(self._server.url(self._of[folder]), incarnation=INCARNATION, now_ms=NOW_MS)

    def copy(self, store: PostgresStore, file: Path) -> None:
        (database,) = self._of.values()
        file.write_bytes(self._server.dumped(database))

    def put(self, file: Path, folder: Path) -> None:
        self._of[folder] = self._server.database()
        self._server.restore(file.read_bytes(), self._of[folder])

    def lose(self, folder: Path) -> None:
        del self._of[folder]


@pytest.fixture
def keeping(postgres: Postgres, migrated: str) -> Databases:
    return Databases(postgres, migrated)
