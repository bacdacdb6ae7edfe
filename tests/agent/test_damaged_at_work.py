"""Damage in a buffer that is too large to be looked through at every start: found in use, put aside at the next one."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from carnet.envelopetype import EnvelopeType
from carnet.errors import Error
from carnet_agent.__main__ import main
from carnet_agent.buffer import Buffer, NewEnvelope, Priority, Row, doubt, is_damage, open_buffer
from carnet_agent.buffer.files import WHOLE_BYTES, Opened
from carnet_agent.buffer.tables import PAGE_BYTES
from carnet_agent.identity import read_identity
from carnet_agent.local import ask
from carnet_agent.statefolder import BUFFER_FILE
from tests.agent.bufferkit import CUT, DEVICE, KEY, add, box, table
from tests.agent.units import make_unit

ROWS = 40
SIZE_MAX = 64 << 20


def opening(path: Path) -> Opened:
    return open_buffer(path, DEVICE, KEY, random.Random(1).randbytes, SIZE_MAX)


def damage(path: Path, *names: str) -> None:
    """Overwrite the first page of tables and indices; the buffer has been closed."""
    with sqlite3.connect(path) as connection:
        pages = [
            connection.execute("select rootpage from sqlite_master where name = ?", (name,)).fetchone()[0]
            for name in names
        ]
    connection.close()
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * PAGE_BYTES)
            file.write(b"\xff" * PAGE_BYTES)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A buffer with rows, and every file is a large one."""
    path = tmp_path / "b.db"
    buffer = opening(path).buffer
    add(buffer, ROWS)
    buffer._db.close()
    monkeypatch.setattr("carnet_agent.buffer.files.WHOLE_BYTES", 0)
    return path


def test_rows_of_a_large_file_are_looked_through_only_in_doubt(path: Path) -> None:
    """What an error in use has told is looked for once, and all that holds is saved."""
    damage(path, "row_waiting")
    opened = opening(path)
    assert not opened.quarantined
    with pytest.raises(sqlite3.DatabaseError) as error:
        opened.buffer.to_send(Priority.BACKGROUND, (), 1)
    assert is_damage(error.value)
    opened.buffer._db.close()
    doubt(path)
    opened = opening(path)
    assert (opened.quarantined, opened.salvaged) == (True, ROWS)
    assert [row.seq for row in opened.buffer.to_send(Priority.BACKGROUND, (), 99)] == list(range(1, ROWS + 1))
    assert not (path.parent / "b.db.doubt").exists()
    assert (path.parent / "b.db-wal").stat().st_size == 0, "the log keeps the size of all that was saved"


@pytest.mark.parametrize("index", ["row_waiting", "idx_row_stream_seq"])
def test_an_index_that_says_what_is_not_so_is_found_in_doubt(path: Path, index: str) -> None:
    """Its pages are well: whoever looked only at them would end over it, be started again, and end over it for ever."""
    change_first_entry(path, index)
    opened = opening(path)
    assert not opened.quarantined
    with pytest.raises(sqlite3.DatabaseError) as error:
        opened.buffer.give_up([(row.number, row.stream, row.seq, row.samples) for row in rows_of(opened.buffer)])
    assert is_damage(error.value)
    opened.buffer._db.close()
    doubt(path)
    opened = opening(path)
    assert (opened.quarantined, opened.salvaged) == (True, ROWS)


def change_first_entry(path: Path, index: str) -> None:
    """Another row number in the first entry of an index of one page: the last byte of its record."""
    with sqlite3.connect(path) as connection:
        query = "select rootpage from sqlite_master where name = ?"
        page = connection.execute(query, (index,)).fetchone()[0] - 1
    connection.close()
    data = bytearray(path.read_bytes())
    first = page * PAGE_BYTES + int.from_bytes(data[page * PAGE_BYTES + 8 : page * PAGE_BYTES + 10], "big")
    data[first + data[first]] ^= 0x40
    path.write_bytes(data)


def rows_of(buffer: Buffer) -> list[Row]:
    return [row for row in map(buffer.row, range(1, ROWS + 1)) if row is not None]


def test_a_doubt_is_on_the_disk_before_the_agent_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("carnet_agent.buffer.files.sync_folder", synced.append)
    doubt(path)
    assert synced == [path.parent]


def test_a_doubt_that_finds_nothing_is_over(path: Path) -> None:
    doubt(path)
    assert (path.parent / "b.db.doubt").stat().st_mode & 0o777 == 0o600
    assert not opening(path).quarantined
    assert {each.name for each in path.parent.iterdir()} <= {"b.db", "b.db-wal", "b.db-shm"}


def test_a_doubt_that_cannot_be_noted_is_no_second_failure(tmp_path: Path) -> None:
    doubt(tmp_path / "nowhere" / "b.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["meta", "box", "checkpoint", "schema", "gap", "destroyed"])
def test_every_other_table_is_looked_through_at_every_start(path: Path, name: str) -> None:
    damage(path, name)
    assert opening(path).quarantined


def test_a_small_file_is_looked_through_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carnet_agent.buffer.files.WHOLE_BYTES", path.stat().st_size)
    damage(path, "row_waiting")
    assert opening(path).quarantined


def fill(buffer: Buffer) -> int:
    """Rows that no start has a reason to read, until the file is a large one; how many."""
    big = box(bytes(16_000))
    reports = [NewEnvelope(EnvelopeType.CHECK_IN_OR_HEALTH, Priority.KEEP, CUT, (big,))] * 100
    while buffer._db.execute("pragma page_count").fetchone()[0] * PAGE_BYTES <= WHOLE_BYTES:
        buffer.add_all(reports)
    return buffer.last_seq


def test_the_agent_ends_over_it_and_its_next_start_saves_what_holds(tmp_path: Path) -> None:
    """Collecting goes well meanwhile: without an end nobody would ever see that nothing is sent any more."""
    unit = make_unit(tmp_path)
    words = ["--owner-key", str(unit.owner_key), "--cloud-keys", str(unit.cloud_keys), "--out", str(tmp_path / "e")]
    assert main(["pair", "--config", str(unit.config), *words]) == 0
    path, identity = unit.state / BUFFER_FILE, read_identity(unit.state)
    buffer = open_buffer(path, identity.device, identity.sign, os.urandom, SIZE_MAX).buffer
    rows = fill(buffer)
    buffer._db.close()
    damage(path, "row_waiting")
    command = [sys.executable, "-m", "carnet_agent", "run", "--config", str(unit.config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as agent:
        while agent.poll() is None:
            # whoever asks for its state makes it read what is damaged
            with contextlib.suppress(Error):
                ask(unit.state, {"do": "status"})
            time.sleep(0.05)
        assert agent.stderr is not None
        said = agent.stderr.read()
    assert agent.returncode == 1, said
    assert "SQLITE_CORRUPT: the disk has damaged what was written; the agent ends" in said
    assert "the next start looks through all of it" in said
    opened = open_buffer(path, identity.device, identity.sign, os.urandom, SIZE_MAX)
    assert (opened.quarantined, opened.salvaged) == (True, rows)
    assert len(table(opened.buffer, "row")) == rows
