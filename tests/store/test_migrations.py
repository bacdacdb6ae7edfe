"""Schemas only go forward: from every version that ever landed to that of now, on both databases.

``schemas/N.sql`` is the schema of version N as SQLite writes it down; what has landed is never edited.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from carnet.errors import ConfigError
from carnet_cloud.store import SqliteStore
from carnet_cloud.store.migrations import STEPS
from carnet_cloud.store.postgres import PostgresStore
from carnet_cloud.store.postgres.schema import script
from tests.store.backends import INCARNATION, NOW_MS, Backend, OnPostgres, Sqlite
from tests.system.postgres import Postgres

SCHEMAS = Path(__file__).with_name("schemas")
VERSIONS = range(1, len(STEPS) + 1)
FILLED = (
    "insert into incarnation (id, created_ms) values (x'69696969696969696969696969696969', 1)",
    "insert into counter values ('kept', 7)",
    "insert into generation (vehicle, epoch, generation) values (x'00', 1, 5)",
)
POSTGRES_SCHEMA = """
    select table_name, column_name, data_type, is_nullable, column_default, collation_name
    from information_schema.columns where table_schema = 'public'
    union all
    select tablename, indexname, indexdef, '', '', '' from pg_indexes where schemaname = 'public'
    order by 1, 2
"""


def written(connection: sqlite3.Connection) -> str:
    """The schema as SQLite keeps it, a statement a line."""
    rows = connection.execute("select sql from sqlite_schema where sql is not null order by type desc, name")
    return "".join(re.sub(r"\s+", " ", sql).strip() + ";\n" for (sql,) in rows)


@dataclass(frozen=True)
class Table:
    """One of an old version, and two rows of it: all filled, and as empty as it may be."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    @property
    def insertion(self) -> str:
        return f"insert into {self.name} ({', '.join(self.columns)}) values ({', '.join('?' * len(self.columns))})"

    @property
    def query(self) -> str:
        return f"select {', '.join(self.columns)} from {self.name} order by 1, 2"


def tables(version: int) -> list[Table]:
    """Every table of the version but those that `FILLED` has; what others name comes first."""
    schema = sqlite3.connect(":memory:")
    schema.executescript((SCHEMAS / f"{version}.sql").read_text())
    names = [name for (name,) in schema.execute("select name from sqlite_schema where type = 'table' order by name")]
    names.sort(key=lambda name: ("offer", "record").index(name) if name in ("offer", "record") else 2)
    found = []
    for name in names:
        columns = schema.execute(f"pragma table_info({name})").fetchall()
        rows = tuple(tuple(_value(kind, number, bool(needed or key)) for _, _, kind, needed, _, key in columns)
                     for number in (1, 2))  # fmt: skip
        if name not in ("incarnation", "counter", "generation"):
            found.append(Table(name, tuple(column[1] for column in columns), rows))
    schema.close()
    return found


def _value(kind: str, number: int, is_needed: bool) -> object:
    if number == 2 and not is_needed:
        return None
    return {"blob": bytes([number]), "text": "ab"[number - 1], "integer": number}[kind.lower()]


def kept(backend: Backend, tables: list[Table]) -> dict[str, list[tuple[object, ...]]]:
    return {each.name: [tuple(row) for row in backend.rows(each.query)] for each in tables}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_step_that_has_landed_is_never_edited(version: int) -> None:
    """The steps up to it still make the schema that was written down when it landed."""
    connection = sqlite3.connect(":memory:")
    for step in STEPS[:version]:
        connection.executescript(step)
    assert (SCHEMAS / f"{version}.sql").read_text() == written(connection), "write down a new version, edit no old one"
    connection.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_sqlite_comes_from_every_version_to_that_of_now(version: int, tmp_path: Path) -> None:
    """The same as a new one, with what was in it."""
    old = sqlite3.connect(tmp_path / "store.db")
    old.executescript((SCHEMAS / f"{version}.sql").read_text())
    for statement in FILLED:
        old.execute(statement)
    for table in tables(version):
        old.executemany(table.insertion, table.rows)
    old.execute(f"pragma user_version={version}")
    old.commit()
    old.close()
    store = Sqlite(tmp_path).open()
    assert kept(Sqlite(tmp_path), tables(version)) == {each.name: list(each.rows) for each in tables(version)}
    with store.transaction() as t:
        assert t.counters.all() == {"kept": 7}
        assert t.consents.generation(b"\0", 1) == 5
        assert t.consents.journal_lines() == 0
    assert store.incarnation == INCARNATION
    store.close()
    fresh = sqlite3.connect(":memory:")
    SqliteStore(fresh, incarnation=INCARNATION, now_ms=NOW_MS)
    with sqlite3.connect(tmp_path / "store.db") as migrated:
        assert written(migrated) == written(fresh)
    migrated.close()
    fresh.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_postgresql_comes_from_every_version_to_that_of_now(version: int, many: OnPostgres, postgres: Postgres) -> None:
    old = OnPostgres(postgres)
    with psycopg.connect(old.url) as connection:
        connection.execute("create table carnet_version (version bigint not null)")
        connection.execute("insert into carnet_version values (%s)", (version,))
        for statement in (*STEPS[:version], *FILLED):
            connection.execute(re.sub(r"x'(\w+)'", r"'\\x\1'", script(statement)).encode())
        for table in tables(version):
            connection.cursor().executemany(table.insertion.replace("?", "%s").encode(), table.rows)
    store = old.open()
    assert kept(old, tables(version)) == {each.name: list(each.rows) for each in tables(version)}
    with store.transaction() as t:
        assert t.counters.all() == {"kept": 7}
        assert t.consents.generation(b"\0", 1) == 5
    assert store.incarnation == INCARNATION
    store.close()
    assert old.rows(POSTGRES_SCHEMA) == many.rows(POSTGRES_SCHEMA)
    assert old.rows("select version from carnet_version") == [(len(STEPS),)]


def make_newer(backend: Backend) -> None:
    backend.open().close()
    if isinstance(backend, OnPostgres):
        with psycopg.connect(backend.url) as connection:
            connection.execute("update carnet_version set version = 1000")
    elif isinstance(backend, Sqlite):
        with sqlite3.connect(backend.path) as file:
            file.execute("pragma user_version=1000")
        file.close()


def test_a_newer_schema_than_the_program_is_refused_in_one_sentence(backend: Backend) -> None:
    make_newer(backend)
    with pytest.raises(ConfigError) as refused:
        backend.open()
    assert refused.value.reason == "store_newer"
    assert str(refused.value) == f"this store has version 1000, this program knows {len(STEPS)}: update Carnet"


def test_a_database_of_another_program_is_refused_and_left_as_it_is(postgres: Postgres) -> None:
    other = OnPostgres(postgres)
    with psycopg.connect(other.url) as connection:
        connection.execute("create table record (title text)")
    with pytest.raises(ConfigError) as refused:
        other.open()
    assert refused.value.reason == "store_foreign"
    assert other.rows("select tablename from pg_tables where schemaname = 'public'") == [("record",)]


def test_programs_that_start_at_once_make_the_schema_once(postgres: Postgres) -> None:
    """And agree on the store's name: the first one's."""
    place = OnPostgres(postgres)
    stores: list[PostgresStore] = []
    names = [bytes([number]) * 16 for number in range(4)]

    def start(name: bytes) -> None:
        stores.append(PostgresStore(place.url, incarnation=name, now_ms=NOW_MS))

    threads = [threading.Thread(target=start, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == len(names)
    assert sum(store.is_new for store in stores) == 1
    assert len({store.incarnation for store in stores}) == 1
    assert place.rows("select count(*) from incarnation") == [(1,)]
    for store in stores:
        store.close()
