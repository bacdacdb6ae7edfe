"""The PostgreSQL that pip installs: what tests take where the machine has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from carnet_cloud.store.postgres import PostgresStore
from tests.lacking import lacking
from tests.store.backends import INCARNATION, NOW_MS, OnPostgres
from tests.store.test_transactions import found, run, write
from tests.system import postgres
from tests.system.postgres import Postgres, packaged, programs


@pytest.fixture(scope="module")
def package() -> Path:
    if (folder := packaged()) is None:
        lacking("pgserver has no wheel for this machine or this Python")
    return folder


@pytest.fixture(scope="module")
def server(package: Path) -> Iterator[Postgres]:
    made = Postgres(programs=package)
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_it_keeps_a_store_and_what_an_operator_copies_of_it(server: Postgres) -> None:
    place = OnPostgres(server)
    store = place.open()
    run(store, write)
    kept = found(store)
    assert all(kept)
    store.close()
    again = server.database()
    server.restore(server.dumped(place.database), again)
    restored = PostgresStore(server.url(again), incarnation=INCARNATION, now_ms=NOW_MS)
    assert found(restored) == kept
    restored.close()


def test_it_is_taken_where_the_machine_has_none(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    assert programs() == package


def test_the_machines_own_comes_first(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    for version in ("9", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    assert programs() == tmp_path / "15" / "bin" != package
