"""Every conformance test runs once on each database; one server serves the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from carnet_cloud.store import Store
from carnet_cloud.store.postgres import PostgresStore
from tests.store.adopted import empty
from tests.store.backends import Backend, OnPostgres, Sqlite
from tests.system.postgres import Postgres


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """A database with the schema of now, to be copied."""
    made = OnPostgres(postgres)
    made.open().close()
    return made.database


@pytest.fixture
def many(postgres: Postgres, migrated: str) -> OnPostgres:
    """A database that several programs may open."""
    return OnPostgres(postgres, migrated)


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "sqlite":
        return Sqlite(tmp_path)
    found: Backend = request.getfixturevalue("many")
    return found


@pytest.fixture
def store(backend: Backend) -> Iterator[Store]:
    opened = backend.open()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared(postgres: Postgres, migrated: str) -> Iterator[PostgresStore]:
    """One store for all tests of a module."""
    opened = OnPostgres(postgres, migrated).open()
    yield opened
    opened.close()


@pytest.fixture
def emptied(shared: PostgresStore) -> PostgresStore:
    """The module's store, without anything in it."""
    empty(shared)
    return shared
