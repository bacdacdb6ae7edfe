"""The tables of a buffer, and which files are one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from carnet_agent.buffer import Priority, open_buffer
from carnet_agent.buffer.tables import APPLICATION_ID, WHOLE, finds_nothing
from carnet_agent.buffer.transaction import transaction
from tests.agent.bufferkit import DEVICE, KEY, memory, opened

SIZE_MAX = 1 << 20
TABLES = {
    "meta": ("name", "value"),
    "row": ("number", "stream", "seq", "type", "priority", "acked", "samples", "manifest", "envelope"),
    "box": ("number", "idx", "handle", "samples", "schema"),
    "checkpoint": ("number", "cut", "handle", "kid", "priority", "samples", "schema", "box"),
    "schema": ("hash", "document"),
    "gap": ("stream", "first", "last", "reason", "samples"),
    "destroyed": ("handle", "generation", "reason", "boxes", "rows", "samples"),
}
KEYS = {"meta": 1, "row": 1, "box": 2, "checkpoint": 1, "schema": 1, "gap": 2, "destroyed": 1}
"""So many of the first columns are the primary key."""


def test_the_tables_are_these_and_the_first_columns_are_their_keys() -> None:
    db = memory()
    names = [row[0] for row in db.execute("select name from sqlite_master where type = 'table'")]
    found = {name: db.execute(f"pragma table_info({name})").fetchall() for name in names}
    assert {name: tuple(column[1] for column in columns) for name, columns in found.items()} == TABLES
    assert {name: sum(column[5] > 0 for column in columns) for name, columns in found.items()} == KEYS
    assert all([column[5] for column in columns] == sorted((column[5] for column in columns), key=lambda n: n or 99)
               for columns in found.values())  # fmt: skip


def test_what_waits_is_found_by_its_priority_without_sorting_and_without_what_was_acknowledged() -> None:
    db, asked = memory(), list[str]()
    db.set_trace_callback(asked.append)
    opened(db).to_send(Priority.BACKGROUND, (), 5)
    plan = [row[3] for row in db.execute(f"explain query plan {asked[-1]}")]
    assert plan == ["SEARCH row USING INDEX row_waiting (priority=?)"]


def put(path: Path, *pragmas: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        for pragma in pragmas:
            db.execute(f"pragma {pragma}")
    assert path.stat().st_size > 0


def is_damage(path: Path) -> bool:
    opened = open_buffer(path, DEVICE, KEY, bytes, SIZE_MAX)
    opened.buffer._db.close()
    return opened.quarantined


def test_a_first_start_that_a_power_cut_stopped_is_no_damage(tmp_path: Path) -> None:
    """SQLite has made the file, and our tables are not in it yet."""
    put(tmp_path / "buffer.db", "journal_mode=WAL")
    assert not is_damage(tmp_path / "buffer.db")


@pytest.mark.parametrize(
    "pragmas",
    [("application_id=1",), ("user_version=1",), (f"application_id={APPLICATION_ID}",), ("user_version=2",)],
    ids=" ".join,
)
def test_a_database_of_another_program_or_version_is_put_aside(tmp_path: Path, pragmas: tuple[str, ...]) -> None:
    put(tmp_path / "buffer.db", *pragmas)
    assert is_damage(tmp_path / "buffer.db")


class Quoting:
    """A connection whose check quotes bytes of the damage that are no text."""

    def execute(self, _statement: str) -> Any:
        raise UnicodeDecodeError("utf-8", b"\x8d", 0, 1, "invalid start byte")


def test_a_report_that_quotes_what_is_damaged_is_no_ok() -> None:
    """World 4093: each start broke off at it, instead of putting the file aside."""
    assert not finds_nothing(Quoting(), WHOLE[0])  # type: ignore[arg-type]


def test_a_text_that_cannot_be_decoded_is_told_as_it_is() -> None:
    """SQLite has no code for that; who looks for one finds none."""
    buffer = opened(memory())
    buffer._db.execute("insert into gap values (x'00', 1, 1, cast(x'ff' as text), 0)")
    with pytest.raises(sqlite3.OperationalError, match="decode"), transaction(buffer._db):
        buffer._db.execute("select reason from gap").fetchall()
    assert not buffer._db.in_transaction
