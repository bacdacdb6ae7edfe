"""The databases that a store may be on, each as a test needs it: empty, and opened as often as it allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg

from carnet_cloud.store import SqliteStore, Store
from carnet_cloud.store.postgres import PostgresStore
from tests.system.postgres import Postgres

INCARNATION = b"i" * 16
NOW_MS = 1_800_000_000_000
WAIT_S = 10.0


class Backend(Protocol):
    """One database."""

    name: str

    def open(self) -> Store:
        """The store on it, by one more program if the database allows several."""

    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        """What a look from outside finds."""


class Sqlite:
    """A file."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"

    def open(self) -> Store:
        return SqliteStore.open(self.path, incarnation=INCARNATION, now_ms=NOW_MS)

    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        import sqlite3

        with sqlite3.connect(self.path) as connection:
            found = connection.execute(query).fetchall()
        connection.close()
        return found


class OnPostgres:
    """A database of a server. ``template``: what it is a copy of."""

    name = "postgresql"

    def __init__(self, server: Postgres, template: str = "template1") -> None:
        self.server = server
        self.database = server.database(template)
        self.url = server.url(self.database)

    def open(self) -> PostgresStore:
        return PostgresStore(self.url, incarnation=INCARNATION, now_ms=NOW_MS)

    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()


def until(happened: Callable[[], bool]) -> None:
    """Wait for what another program or thread does; AssertionError after WAIT_S."""
    end = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)
