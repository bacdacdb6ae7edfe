"""What was good in a damaged buffer comes into the next one, whatever a crash was in the middle of, and once."""

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carnet.envelopetype import EnvelopeType
from carnet.note import DestructionReason
from carnet_agent.buffer import Priority, remains
from carnet_agent.buffer.files import Opened, open_buffer
from carnet_agent.buffer.remains import Remains
from carnet_agent.buffer.salvage import TRIES
from carnet_agent.buffer.tables import PAGE_BYTES
from tests.agent.bufferkit import CUT, box
from tests.agent.test_buffer import DEVICE, KEY, SIZE_MAX, add, sent

ROWS = 12
MANY = 300
LEAF_OF_TABLE, LEAF_OF_INDEX = 13, 10
STEPS_MAX = 40


class Crash(BaseException):
    """The unit loses its power at this very step."""


class Machine:
    """Counts what a start does to the disk (renames, deletions, commits) and stops at the ``stop_at``-th, before or
    after it is done.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steps = 0
        self.stop_at: int | None = None
        self.after = False
        self._open: list[sqlite3.Connection] = []
        for owner, name in ((Path, "rename"), (Path, "unlink"), (remains, "sync_folder")):
            patch.setattr(owner, name, self._step(getattr(owner, name)))
        patch.setattr(sqlite3, "connect", self._connect(sqlite3.connect))

    def start(self, path: Path, stop_at: int | None = None, *, after: bool = False) -> Opened | None:
        """Open the buffer; None if the power went."""
        self.steps, self.stop_at, self.after = 0, stop_at, after
        try:
            return open_buffer(path, DEVICE, KEY, random.Random(path.name).randbytes, SIZE_MAX)
        except Crash:
            return None
        finally:
            self.stop_at = None

    def stop(self) -> None:
        """The process is gone, and with it what it had not committed."""
        for connection in self._open:
            connection.close()
        self._open.clear()

    def _step(self, do: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            self.steps += 1
            if self.steps == self.stop_at and not self.after:
                raise Crash
            done = do(*arguments, **named)
            if self.steps == self.stop_at:
                raise Crash
            return done

        return step

    def _connect(self, connect: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        machine = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                run = super().execute
                return machine._step(run)(sql) if sql.lower() == "commit" else run(sql, *arguments)

        def connected(*arguments: Any, **named: Any) -> sqlite3.Connection:
            connection = connect(*arguments, factory=Connection, **named)
            self._open.append(connection)
            return connection

        return connected


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(monkeypatch)
    yield machine
    machine.stop()


def damaged(machine: Machine, path: Path, rows: int, *statements: str) -> None:
    """Add rows to the buffer, the later half of them in the log alone, and write over the page of another table."""
    opened = machine.start(path)
    assert opened is not None
    add(opened.buffer, rows // 2)
    opened.buffer.scrub()
    add(opened.buffer, rows - rows // 2)
    for statement in statements:
        opened.buffer._db.execute(statement)
    (page,) = opened.buffer._db.execute("select rootpage from sqlite_master where name = 'checkpoint'").fetchone()
    files = {file: file.read_bytes() for file in (path, path.with_name(path.name + "-wal"))}
    machine.stop()
    for file, data in files.items():
        file.write_bytes(data)
    with path.open("r+b") as database:
        database.seek((page - 1) * PAGE_BYTES)
        database.write(b"no page" * 500)


def numbers(opened: Opened | None) -> list[int]:
    assert opened is not None
    return [row.seq for row in sent(opened.buffer)]


@pytest.mark.parametrize("after", [False, True])
def test_whatever_a_crash_is_in_the_middle_of_every_good_row_comes_back_once(
    machine: Machine, tmp_path: Path, after: bool
) -> None:
    """At each rename, each deletion, each sync and each commit of the start that finds the damage."""
    crashed = []
    for step in range(1, STEPS_MAX):
        path = tmp_path / str(step) / "buffer.db"
        path.parent.mkdir()
        damaged(machine, path, ROWS)
        opened = machine.start(path, step, after=after)
        if opened is not None:
            assert numbers(opened) == list(range(1, ROWS + 1))
            break
        crashed.append(step)
        machine.stop()
        assert numbers(machine.start(path)) == list(range(1, ROWS + 1)), f"a crash at step {step}"
        machine.stop()
        again = machine.start(path)
        assert again is not None
        assert (again.salvaged, again.quarantined) == (0, False)
        assert numbers(again) == list(range(1, ROWS + 1))
        machine.stop()
    assert len(crashed) > 5


def leaves(data: bytes, page: int) -> list[int]:
    """The pages of a tree that hold its rows, in order, as SQLite's file format has them; the root is not page 1."""
    at = (page - 1) * PAGE_BYTES
    kind, _, count = struct.unpack_from(">BHH", data, at)
    if kind in (LEAF_OF_TABLE, LEAF_OF_INDEX):
        return [page]
    cells = struct.unpack_from(f">{count}H", data, at + 12)
    children = [struct.unpack_from(">I", data, at + cell)[0] for cell in cells]
    (last,) = struct.unpack_from(">I", data, at + 8)
    return [leaf for child in [*children, last] for leaf in leaves(data, child)]


@pytest.mark.parametrize("table", ["row", "box", "row_waiting"])
def test_a_bad_page_costs_what_was_on_it(machine: Machine, tmp_path: Path, table: str) -> None:
    """Not what comes behind it."""
    path = tmp_path / "buffer.db"
    opened = machine.start(path)
    assert opened is not None
    add(opened.buffer, MANY)
    opened.buffer.scrub()
    (root,) = opened.buffer._db.execute("select rootpage from sqlite_master where name = ?", (table,)).fetchone()
    machine.stop()
    data = bytearray(path.read_bytes())
    pages = leaves(bytes(data), root)
    at = (pages[len(pages) // 4] - 1) * PAGE_BYTES
    data[at : at + PAGE_BYTES] = b"no page." * (PAGE_BYTES // 8)
    path.write_bytes(data)
    again = machine.start(path)
    assert again is not None
    assert again.quarantined
    lost = MANY - again.salvaged
    assert lost <= (0 if table == "row_waiting" else 2 * MANY // len(pages))


def test_without_the_index_a_bad_page_costs_neither_what_is_before_nor_what_is_behind_it(
    machine: Machine, tmp_path: Path
) -> None:
    path = tmp_path / "buffer.db"
    opened = machine.start(path)
    assert opened is not None
    add(opened.buffer, MANY)
    opened.buffer.scrub()
    query = "select rootpage from sqlite_master where name in ('row', 'row_waiting') order by name"
    (table,), (index,) = opened.buffer._db.execute(query)
    machine.stop()
    data = bytearray(path.read_bytes())
    pages = leaves(bytes(data), table)
    for page in (pages[len(pages) // 2], index):
        data[(page - 1) * PAGE_BYTES : page * PAGE_BYTES] = b"no page." * (PAGE_BYTES // 8)
    path.write_bytes(data)
    again = machine.start(path)
    assert again is not None
    assert MANY - again.salvaged <= 2 * MANY // len(pages)


def test_what_is_no_reading_comes_back_too(machine: Machine, tmp_path: Path) -> None:
    """A schema or a gap has a box as well, and none that a consent could end."""
    path = tmp_path / "buffer.db"
    opened = machine.start(path)
    assert opened is not None
    opened.buffer.add(EnvelopeType.SCHEMA, Priority.KEEP, CUT, [box()])
    machine.stop()
    damaged(machine, path, ROWS)
    assert numbers(machine.start(path)) == list(range(1, ROWS + 2))


def test_each_damage_has_all_its_tries(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "buffer.db"
    damaged(machine, path, ROWS)
    assert machine.start(path) is not None
    machine.stop()
    damaged(machine, path, 0)

    def crash(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("carnet_agent.buffer.files.Wreck", crash)
        for _ in range(TRIES - 1):
            assert machine.start(path) is None
            machine.stop()
    opened = machine.start(path)
    assert opened is not None
    assert opened.salvaged == ROWS
    found = dict(opened.buffer._db.execute("select name, value from meta where name glob 'salvage*'"))
    assert {name: int.from_bytes(value, "big") for name, value in found.items()} == {"salvaged": 2, "salvage_tries": 0}


@pytest.mark.parametrize("wrong", ["priority = 'high'", "samples = 9e999", "envelope = 1 << 60", "envelope = 'text'"])
def test_a_row_of_types_that_nobody_wrote_costs_no_other(machine: Machine, tmp_path: Path, wrong: str) -> None:
    """One bit of a row's head makes another type of a column; the page around it is sound."""
    path = tmp_path / "buffer.db"
    damaged(machine, path, ROWS, f"update row set {wrong} where number = 3")
    assert numbers(machine.start(path)) == [number for number in range(1, ROWS + 1) if number != 3]


@pytest.mark.parametrize("step", [2, 3])
def test_logs_that_a_crash_left_behind_follow_their_database(machine: Machine, tmp_path: Path, step: int) -> None:
    """They are neither lost nor taken for the new database's."""
    path = tmp_path / "buffer.db"
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(suffix.encode())
    machine.steps, machine.stop_at = 0, step
    with pytest.raises(Crash):
        Remains(path).put_aside()
    machine.stop_at = None
    Remains(path).complete()
    aside = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert aside == {f"buffer.db.quarantine.1{suffix}": suffix.encode() for suffix in ("", "-wal", "-shm")}
    Remains(path).complete()


def test_a_second_damage_before_the_first_was_salvaged_loses_neither(machine: Machine, tmp_path: Path) -> None:
    """The crash came before the rows were taken up, and the next buffer is damaged too."""
    path = tmp_path / "buffer.db"
    damaged(machine, path, ROWS)
    assert machine.start(path, steps_of(machine, tmp_path)) is None
    machine.stop()
    path.write_bytes(b"no database at all" * 500)
    opened = machine.start(path)
    assert opened is not None
    assert (opened.quarantined, opened.salvaged) == (True, ROWS)


def steps_of(machine: Machine, folder: Path) -> int:
    """The last step of a start that salvages, its commit: counted at another buffer."""
    path = folder / "other" / "buffer.db"
    path.parent.mkdir()
    damaged(machine, path, ROWS)
    assert machine.start(path) is not None
    machine.stop()
    return machine.steps


def test_what_brings_the_agent_down_at_each_start_is_given_up(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays aside for whoever looks into it, and the unit goes on."""
    path = tmp_path / "buffer.db"
    damaged(machine, path, ROWS)

    def crash(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("carnet_agent.buffer.files.Wreck", crash)
        for _ in range(TRIES):
            assert machine.start(path) is None
            machine.stop()
    opened = machine.start(path)
    assert numbers(opened) == []
    assert path.with_name("buffer.db.quarantine.1").exists()


def test_a_consent_that_ends_destroys_what_a_crash_left_unsalvaged(machine: Machine, tmp_path: Path) -> None:
    """The boxes come into the buffer first, and go with all others of their handle; what was put aside goes whole."""
    path = tmp_path / "buffer.db"
    damaged(machine, path, ROWS)
    assert machine.start(path, steps_of(machine, tmp_path)) is None
    machine.stop()
    opened = machine.start(path)
    assert opened is not None
    opened.buffer.discard_remains()
    assert opened.buffer.destroy([b"h" * 8], 2, DestructionReason.ENDED) == ROWS
    assert opened.buffer.handles() == set()
    machine.stop()
    assert list(tmp_path.glob("*quarantine*")) == []
    again = machine.start(path)
    assert again is not None
    assert again.salvaged == 0
    assert again.buffer.handles() == set()
