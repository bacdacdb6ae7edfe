"""Every conformance test runs once on each database; one server serves the whole session."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from carnet_cloud.store import Store
from carnet_cloud.store.postgres import PostgresStore
from tests.cloud import kit as cloudkit
from tests.cloud.kit import Cloud, Unit
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


@pytest.fixture
def stores(many: OnPostgres) -> Iterator[list[PostgresStore]]:
    """Two programs' and a third for looking on."""
    opened = [many.open() for _ in range(3)]
    yield opened
    for store in opened:
        store.close()


@pytest.fixture
def clouds(stores: list[PostgresStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cloud]:
    """Two receivers, which share journal and wrapping keys."""
    found = []
    for store in stores[:2]:
        monkeypatch.setattr(cloudkit, "memory_store", lambda store=store: store)
        found.append(Cloud(tmp_path))
    found[1].wrapping._random = random.Random(6).randbytes
    return found


@pytest.fixture
def unit(clouds: list[Cloud]) -> Unit:
    """Enrolled at both."""
    unit = Unit()
    clouds[0].enrol(unit)
    return unit
