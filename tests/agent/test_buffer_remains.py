"""What is taken over from a damaged buffer, what is put aside of it, and what a file has to be to be ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from carnet.envelope import parse_envelope
from carnet.errors import UnavailableError
from carnet.hashes import SCHEMA as SCHEMA_CONTEXT
from carnet.hashes import digest
from carnet.keys import SigningKey
from carnet_agent.buffer import Buffer, Lost, Priority, open_buffer
from carnet_agent.buffer import remains as remains_module
from carnet_agent.buffer.remains import Remains
from carnet_agent.buffer.rows import Saved
from carnet_agent.buffer.salvage import Wreck
from carnet_agent.buffer.tables import APPLICATION_ID, PAGE_BYTES, VERSION, check, configure
from tests.agent.bufferkit import DEVICE, HANDLE, KEY, SCHEMA, add, box, envelope, lost, memory, opened, table, waiting

SIZE_MAX = 1 << 20


def saved(buffer: Buffer, *seqs: int) -> list[Saved]:
    """Rows of another buffer, as the salvage finds them."""
    rows = {row.seq: row for row in waiting(buffer)}
    return [Saved(rows[n].envelope, rows[n].priority, rows[n].samples, ((0, HANDLE, 3, SCHEMA),), True) for n in seqs]


def test_rows_that_are_taken_over_keep_number_priority_boxes_and_schemas(buffer: Buffer) -> None:
    old = opened(memory(), seed=1)
    add(old, 1, Priority.LIVE)
    add(old, 4)
    assert buffer.adopt(saved(old, 1, 2, 5), {SCHEMA: b"document"}, 1) == 3
    assert [(row.stream, row.seq, row.priority, row.samples) for row in waiting(buffer)] == [
        (old.stream, 1, Priority.LIVE, 3),
        (old.stream, 2, Priority.BACKGROUND, 3),
        (old.stream, 5, Priority.BACKGROUND, 3),
    ]
    assert buffer.manifest(old.stream, 2) == old.manifest(old.stream, 2)
    assert buffer.handles() == {HANDLE}
    assert len(table(buffer, "box")) == 3
    assert buffer.schema(SCHEMA) == b"document"
    assert buffer.previous_stream == old.stream
    assert lost(buffer) == [Lost(old.stream, 3, 4, "corrupt", 0)]
    assert add(buffer, 1) == [2]


def test_rows_of_two_streams_leave_no_gap_between_them(buffer: Buffer) -> None:
    """What lies before the first of a stream may have been acknowledged."""
    first, second = opened(memory(), seed=1), opened(memory(), seed=2)
    add(first, 2)
    add(second, 4)
    assert buffer.adopt([*saved(first, 1, 2), *saved(second, 4)], {}, 1) == 3
    assert lost(buffer) == []
    assert buffer.previous_stream == second.stream


def test_what_was_put_aside_is_due_until_it_is_taken_over(buffer: Buffer) -> None:
    assert buffer.salvages.due([3, 1, 2]) == [1, 2, 3]
    buffer.adopt([], {}, 2)
    assert buffer.salvages.due([3, 1, 2]) == [3]


def test_a_salvage_is_tried_three_times_and_each_new_one_again(buffer: Buffer) -> None:
    assert [buffer.salvages.begin() for _ in range(4)] == [True, True, True, False]
    buffer.adopt([], {}, 1)
    assert buffer.salvages.begin()


# salvage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A buffer of five rows, of which one is acknowledged, with a schema, closed."""
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    configure(connection, SIZE_MAX)
    old = opened(connection)
    old.add_all([envelope(box(samples=n)) for n in range(1, 6)], schemas={digest(SCHEMA_CONTEXT, b"doc"): b"doc"})
    old.acknowledge(old.stream, [(2, 2)])
    old.write_acknowledged()
    connection.close()
    return path


def change(file: Path, statement: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(statement)
    connection.close()


def seqs(found: list[Saved]) -> list[int]:
    return [parse_envelope(each.envelope).header.seq for each in found]


def test_what_waits_is_saved_in_its_order_with_what_hangs_on_it(file: Path) -> None:
    wreck = Wreck([file], DEVICE, KEY)
    found, schemas = list(wreck), wreck.schemas
    assert seqs(found) == [1, 3, 4, 5]
    assert [(each.priority, each.samples) for each in found] == [(Priority.BACKGROUND, n) for n in (1, 3, 4, 5)]
    assert [each.boxes for each in found] == [((0, HANDLE, n, SCHEMA),) for n in (1, 3, 4, 5)]
    assert schemas == {digest(SCHEMA_CONTEXT, b"doc"): b"doc"}


def test_a_schema_is_known_by_its_own_bytes(file: Path) -> None:
    """Not by what the damaged file says of it."""
    change(file, "update schema set hash = x'00'")
    assert Wreck([file], DEVICE, KEY).schemas == {digest(SCHEMA_CONTEXT, b"doc"): b"doc"}


@pytest.mark.parametrize(
    "statement",
    [
        "delete from box where number = 3",
        "insert into box values (3, 1, x'00', 0, x'00')",
        "update row set envelope = substr(envelope, 1, 200) where number = 3",
        "update row set envelope = cast(envelope as text) where number = 3",
        "update row set envelope = null where number = 3",
    ],
)
def test_a_row_that_cannot_be_vouched_for_stays_where_it_is(file: Path, statement: str) -> None:
    """A box without a handle could not be destroyed when its grants end."""
    change(file, statement)
    assert seqs(list(Wreck([file], DEVICE, KEY))) == [1, 4, 5]


def test_rows_of_another_unit_or_another_key_are_not_ours(file: Path) -> None:
    assert list(Wreck([file], bytes(16), KEY)) == []
    assert list(Wreck([file], DEVICE, SigningKey.from_seed(b"x" * 32))) == []


def test_of_a_row_in_several_files_the_newest_is_taken(file: Path, tmp_path: Path) -> None:
    """There boxes of it may be destroyed; what only the older one has comes too."""
    newer = tmp_path / "newer.db"
    newer.write_bytes(file.read_bytes())
    change(newer, "update row set samples = 99 where number = 3")
    change(newer, "delete from row where number = 1")
    found = list(Wreck([file, newer], DEVICE, KEY))
    assert sorted((seq, each.samples) for seq, each in zip(seqs(found), found, strict=True)) == [
        (1, 1), (3, 99), (4, 4), (5, 5),
    ]  # fmt: skip


def test_what_is_saved_is_read_again_whenever_it_is_asked_for(file: Path) -> None:
    """All of a full buffer would not fit into memory; a row that the disk has damaged in between costs no other."""
    wreck = Wreck([file], DEVICE, KEY)
    assert seqs(list(wreck)) == seqs(list(wreck)) == [1, 3, 4, 5]
    change(file, "update row set samples = 'text' where number = 3")
    assert seqs(list(wreck)) == [1, 4, 5]


def test_a_file_that_cannot_be_opened_costs_nothing_of_the_others(file: Path, tmp_path: Path) -> None:
    assert seqs(list(Wreck([tmp_path / "no folder" / "x.db", file], DEVICE, KEY))) == [1, 3, 4, 5]


def test_files_that_are_no_databases_cost_nothing_of_the_others(file: Path, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.db"
    nonsense.write_bytes(b"no database" * 100)
    assert seqs(list(Wreck([nonsense, file], DEVICE, KEY))) == [1, 3, 4, 5]


def test_schemas_that_cannot_be_read_cost_no_row(file: Path) -> None:
    change(file, "drop table schema")
    wreck = Wreck([file], DEVICE, KEY)
    found, schemas = list(wreck), wreck.schemas
    assert (seqs(found), schemas) == ([1, 3, 4, 5], {})


# remains


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    found: list[Path] = []
    monkeypatch.setattr(remains_module, "sync_folder", found.append)
    return found


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def test_the_two_newest_are_kept_with_their_logs(tmp_path: Path, synced: list[Path]) -> None:
    path = tmp_path / "b.db"
    remains = Remains(path)
    for count in range(1, 4):
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"b.db{suffix}").write_bytes(b"%d" % count)
        remains.put_aside()
        assert synced == [tmp_path] * count
    assert names(tmp_path) == {f"b.db.quarantine.{n}{suffix}" for n in (2, 3) for suffix in ("", "-wal", "-shm")}
    assert (tmp_path / "b.db.quarantine.3-wal").read_bytes() == b"3"
    assert remains.databases() == {n: tmp_path / f"b.db.quarantine.{n}" for n in (2, 3)}


def test_what_is_put_aside_never_takes_the_number_of_a_log(tmp_path: Path, synced: list[Path]) -> None:
    (tmp_path / "b.db.quarantine.7-wal").write_bytes(b"log")
    (tmp_path / "b.db").write_bytes(b"")
    Remains(tmp_path / "b.db").put_aside()
    assert names(tmp_path) == {"b.db.quarantine.7-wal", "b.db.quarantine.8"}
    assert Remains(tmp_path / "b.db").databases() == {8: tmp_path / "b.db.quarantine.8"}


def test_logs_follow_only_where_the_database_has_gone(tmp_path: Path, synced: list[Path]) -> None:
    """While there is one they are its own; where nothing was ever put aside they are nobody's."""
    path, remains = tmp_path / "b.db", Remains(tmp_path / "b.db")
    log = tmp_path / "b.db-wal"
    log.write_bytes(b"log")
    remains.complete()
    assert (names(tmp_path), synced) == ({"b.db-wal"}, [])
    for number in (1, 2):
        (tmp_path / f"b.db.quarantine.{number}").write_bytes(b"")
    path.write_bytes(b"")
    remains.complete()
    assert (log.exists(), synced) == (True, [])
    path.unlink()
    remains.complete()
    assert not log.exists()
    assert (tmp_path / "b.db.quarantine.2-wal").read_bytes() == b"log"
    assert synced == [tmp_path]


def test_what_is_deleted_is_deleted_on_the_disk_too(tmp_path: Path, synced: list[Path]) -> None:
    remains = Remains(tmp_path / "b.db")
    remains.discard()
    assert synced == []
    (tmp_path / "b.db.quarantine.1-shm").write_bytes(b"")
    remains.discard()
    assert (names(tmp_path), synced) == (set(), [tmp_path])


# files


def opening(path: Path) -> tuple[bool, int]:
    found = open_buffer(path, DEVICE, KEY, bytes, SIZE_MAX)
    found.buffer._db.close()
    return found.quarantined, found.salvaged


def test_the_buffer_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    assert opening(tmp_path / "b.db") == (False, 0)
    assert (tmp_path / "b.db").stat().st_mode & 0o777 == 0o600


def test_an_empty_file_is_a_new_buffer(tmp_path: Path) -> None:
    (tmp_path / "b.db").touch()
    assert opening(tmp_path / "b.db") == (False, 0)
    assert names(tmp_path) == {"b.db"}


@pytest.mark.parametrize("pragma", [f"application_id={APPLICATION_ID + 1}", f"user_version={VERSION + 1}"])
def test_a_database_of_another_program_or_version_is_put_aside_untouched(tmp_path: Path, pragma: str) -> None:
    path = tmp_path / "b.db"
    opening(path)
    change(path, f"pragma {pragma}")
    before = path.read_bytes()
    assert opening(path)[0]
    assert (tmp_path / "b.db.quarantine.1").read_bytes() == before


def test_a_file_that_cannot_be_opened_is_not_put_aside(tmp_path: Path) -> None:
    """Nothing speaks against it: an intact buffer would be lost."""
    path = tmp_path / "b.db"
    path.mkdir()
    with pytest.raises(UnavailableError) as refusal:
        opening(path)
    assert refusal.value.reason == "buffer_unwritable"
    assert names(tmp_path) == {"b.db"}


def test_a_buffer_that_another_agent_has_open_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    first = open_buffer(path, DEVICE, KEY, bytes, SIZE_MAX)
    with pytest.raises(UnavailableError) as refusal:
        opening(path)
    assert refusal.value.reason == "buffer_in_use"
    first.buffer._db.close()


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (sqlite3.SQLITE_IOERR_READ, "aside"),
        (sqlite3.SQLITE_IOERR_SHORT_READ, "aside"),
        (sqlite3.SQLITE_IOERR_CORRUPTFS, "aside"),
        (sqlite3.SQLITE_ERROR, "aside"),
        (sqlite3.SQLITE_IOERR_WRITE, "buffer_unwritable"),
        (sqlite3.SQLITE_READONLY, "buffer_unwritable"),
        (sqlite3.SQLITE_FULL, "buffer_unwritable"),
        (sqlite3.SQLITE_CANTOPEN, "buffer_unwritable"),
        (sqlite3.SQLITE_BUSY_RECOVERY, "buffer_in_use"),
        (sqlite3.SQLITE_LOCKED, "buffer_in_use"),
    ],
)
def test_what_speaks_against_the_file_puts_it_aside_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, outcome: str
) -> None:
    """A bad place in it is read around; a disk that takes nothing, or another agent, says nothing of the file."""
    path = tmp_path / "b.db"
    opening(path)
    error = sqlite3.OperationalError("the disk's word")
    error.sqlite_errorcode = code
    answers = [error]

    def checked(connection: sqlite3.Connection, looks: Sequence[str]) -> bool:
        if answers:
            raise answers.pop()
        return check(connection, looks)

    monkeypatch.setattr("carnet_agent.buffer.files.check", checked)
    if outcome == "aside":
        assert opening(path) == (True, 0)
        assert (tmp_path / "b.db.quarantine.1").exists()
    else:
        with pytest.raises(UnavailableError) as refusal:
            opening(path)
        assert (refusal.value.reason, names(tmp_path)) == (outcome, {"b.db"})


def test_a_file_that_is_refused_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open one would keep its lock, and what is put aside would go on being written."""
    path = tmp_path / "b.db"
    path.write_bytes(b"no database" * 1000)
    connections: list[sqlite3.Connection] = []
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def remembered(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connections.append(connect(*arguments, **named))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", remembered)
    assert opening(path)[0]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connections[0].execute("select 1")


def test_logs_without_their_database_do_not_come_into_the_next(tmp_path: Path) -> None:
    """The crash came after the rename of the database, and all of its rows were in the log."""
    path, log = tmp_path / "b.db", tmp_path / "b.db-wal"
    before = open_buffer(path, DEVICE, KEY, bytes, SIZE_MAX).buffer
    before.scrub()
    add(before, 3)
    files = {tmp_path / "b.db.quarantine.1": path.read_bytes(), log: log.read_bytes()}
    before._db.close()
    path.unlink()
    for file, data in files.items():
        file.write_bytes(data)
    assert opening(path) == (False, 3)


def test_a_salvage_that_was_given_up_takes_nothing_and_is_done_with(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "b.db"
    opening(path)
    with sqlite3.connect(path) as connection:
        connection.execute("insert into meta values ('salvage_tries', ?)", ((3).to_bytes(8, "big"),))
    connection.close()
    file.rename(tmp_path / "b.db.quarantine.1")
    assert opening(path) == (False, 0)
    assert opening(path) == (False, 0)


def test_another_thread_may_use_the_buffer_that_was_opened_here(tmp_path: Path) -> None:
    """The service opens it and hands it to its loop; one at a time."""
    found = open_buffer(tmp_path / "b.db", DEVICE, KEY, bytes, SIZE_MAX)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(add, found.buffer, 1).result() == [1]
    found.buffer._db.close()


# tables


def test_a_buffer_is_opened_with_what_its_promises_need() -> None:
    connection = memory()
    pragmas = ("page_size", "synchronous", "secure_delete", "trusted_schema", "application_id", "user_version")
    values = {name: connection.execute(f"pragma {name}").fetchone()[0] for name in pragmas}
    assert values == {
        "page_size": 4096,
        "synchronous": 2,
        "secure_delete": 1,
        "trusted_schema": 0,
        "application_id": 0x43524142,
        "user_version": 1,
    }
    assert PAGE_BYTES == 4096


@pytest.mark.parametrize(("size", "pages"), [(1 << 20, 256), ((1 << 20) - 1, 255), (17 * 4096, 17), (0, 16)])
def test_the_cap_is_in_whole_pages_and_never_below_what_the_tables_need(size: int, pages: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("pragma page_size=4096")
    configure(connection, size)
    found = connection.execute("pragma max_page_count").fetchone()[0]
    assert found == max(pages, connection.execute("pragma page_count").fetchone()[0])


def test_a_file_on_disk_is_written_as_the_laws_need(tmp_path: Path) -> None:
    """Write-ahead log, one writer, no copy in memory that a bad page could pass by."""
    connection = sqlite3.connect(tmp_path / "b.db")
    configure(connection, SIZE_MAX)
    values = [
        connection.execute(f"pragma {name}").fetchone()[0]
        for name in (
            "journal_mode",
            "locking_mode",
            "wal_autocheckpoint",
            "journal_size_limit",
            "mmap_size",
            "temp_store",
        )
    ]
    assert values == ["wal", "exclusive", 256, -1, 0, 2]
    assert check(connection)
    connection.close()


def test_one_number_of_a_stream_is_one_row(buffer: Buffer) -> None:
    add(buffer, 2)
    with pytest.raises(sqlite3.IntegrityError):
        buffer._db.execute("update row set seq = 1 where seq = 2")
