"""A copy of the store in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.__main__ import main
from carnet_cloud.api import make_api
from carnet_cloud.apiserver import ApiServer
from carnet_cloud.config import load
from carnet_cloud.running import backup
from carnet_cloud.service import Service
from carnet_cloud.store import SqliteStore, sqlite
from carnet_cloud.store.migrations import STEPS
from tests.cloud.kit import NOW_MS, Cloud
from tests.cloud.test_api import TOKEN
from tests.cloud.test_commands import CONFIG, config
from tests.system.mosquitto import free_port

__all__ = ["config"]  # a fixture

LIMIT_S = 20.0


def opened(folder: Path) -> SqliteStore:
    return SqliteStore.open(folder / "store" / "cloud.db", incarnation=b"i" * 16, now_ms=NOW_MS)


def counters(path: Path) -> dict[str, int]:
    connection = sqlite3.connect(path)
    found = dict(connection.execute("select name, value from counter").fetchall())
    connection.close()
    return found


# the copy


def test_a_copy_is_of_one_moment_however_much_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two counters rise together, in a thread that is not held up until the copy is whole."""
    monkeypatch.setattr(sqlite, "COPY_PAGES", 1)
    store, over, written = opened(tmp_path), threading.Event(), [0]
    between = []

    def pause(_: float) -> None:
        """Between two pages of the copy: the writer gets its turn now."""
        seen, end = written[0], time.monotonic() + LIMIT_S
        while written[0] == seen:
            assert time.monotonic() < end, "a writer waits for the copy"
            time.sleep(0.0005)
        between.append(seen)

    monkeypatch.setattr(sqlite, "time", SimpleNamespace(sleep=pause))
    with store.transaction() as t:
        for number in range(3000):
            t.counters.add(f"filler_{number:05}_{'x' * 60}")

    def write() -> None:
        while not over.is_set():
            with store.transaction() as t:
                t.counters.add("one")
                t.counters.add("other")
            written[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    while not written[0]:
        time.sleep(0.001)
    backup.copy(store, tmp_path / "copy.db")
    over.set()
    thread.join()
    store.close()
    found = counters(tmp_path / "copy.db")
    assert found["one"] == found["other"] >= between[-1], "what was committed before the last page is in it"
    assert len(between) > 10
    assert backup.check(tmp_path / "copy.db") == len(STEPS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "store"]
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_copy_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes, name, folder: in this order whatever a power cut leaves under the name is whole. SQLite itself sees to the
    bytes of the service's own copy.
    """
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        done.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def named(path: Path, target: Path) -> Path:
        done.append(f"name {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", named)
    (tmp_path / "away").mkdir()
    (tmp_path / "new").mkdir()
    store = opened(tmp_path)
    file = Path(store._connection.execute("pragma database_list").fetchone()[2])
    spool = backup.spool_of(file)
    steps: tuple[tuple[Callable[[], None], list[str]], ...] = (
        (lambda: backup.copy(store, spool), [f"name {spool.name}", f"fsync {file.parent.name}"]),
        (lambda: backup.take(file, tmp_path / "away" / "a"), ["fsync a.part", "name a", "fsync away"]),
        (lambda: backup.put(tmp_path / "away" / "a", tmp_path / "new" / "s"), ["fsync s.part", "name s", "fsync new"]),
    )
    for step, expected in steps:
        done.clear()
        step()
        assert done == expected
    store.close()


def test_a_copy_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(UnavailableError) as refused:
        backup.copy(store, tmp_path / "nowhere" / "copy.db")
    assert refused.value.reason == "backup_failed"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    with store.transaction() as t:
        t.counters.add("goes_on")
    store.close()


def test_one_copy_at_a_time(tmp_path: Path) -> None:
    store = opened(tmp_path)
    spool = backup.Spool(store, tmp_path / "store" / "cloud.db")
    assert spool.fill() > 0
    with spool._turn, pytest.raises(UnavailableError) as refused:
        spool.fill()
    assert refused.value.reason == "backup_busy"
    assert spool.fill() > 0, "what nobody took is replaced"
    store.close()


# the commands


@pytest.fixture
def running(config: Path) -> Iterator[Path]:
    """The configuration of a service that serves its API; nothing else of it runs."""
    port, token = free_port(), config.parent / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    listen = f'listen = "127.0.0.1:{port}"\noperator_token_file = "token"'
    config.write_text(CONFIG.replace('listen = "127.0.0.1:0"', listen))
    service = Service(load(config))
    server = ApiServer(service.parts.api, lambda: None)
    opened_socket = service._api_socket()
    thread = threading.Thread(target=server.run, args=([opened_socket],), daemon=True)
    thread.start()
    with service.parts.store.transaction() as t:
        t.counters.add("known")
    yield config
    server.stop()
    thread.join(LIMIT_S)
    service.parts.store.close()


def test_the_running_service_is_copied_through_itself(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = running.parent / "monday.db"
    assert main(["backup", str(file), "--config", str(running)]) == 0
    assert f"a whole store of version {len(STEPS)}" in capsys.readouterr().out
    assert counters(file)["known"] == 1
    assert not list((running.parent / "cloud").glob("*.backup*"))
    assert main(["backup", str(file), "--config", str(running)]) == 2
    assert "overwrites nothing" in capsys.readouterr().err
    assert main(["restore", str(file), "--config", str(running)]) == 2
    assert "move it away first" in capsys.readouterr().err


def test_without_a_service_the_command_copies_and_restores(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, file = config.parent / "cloud" / "store.db", config.parent / "monday.db"
    words = ["--config", str(config)]
    assert main(["backup", str(file), *words]) == 2
    assert "nothing to copy" in capsys.readouterr().err and not store.exists()
    Service(load(config)).parts.store.close()
    assert main(["backup", str(file), *words]) == 0
    store.unlink()
    for suffix in ("-wal", "-shm"):
        store.with_name(store.name + suffix).unlink(missing_ok=True)
    assert main(["restore", str(file), *words]) == 0
    said = capsys.readouterr().out
    assert "ends again what the journal" in said
    service = Service(load(config))
    assert service.parts.consents.replay_journal() == 0
    service.parts.store.close()


def test_a_backup_into_a_folder_that_is_not_there_is_refused_before_anything_is_copied(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Service(load(config)).parts.store.close()
    assert main(["backup", str(config.parent / "srv" / "monday.db"), "--config", str(config)]) == 2
    assert f"sudo install -d -m 700 {config.parent / 'srv'}" in capsys.readouterr().err


def test_what_is_no_whole_store_of_this_or_an_older_version_is_not_restored(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, words = config.parent / "monday.db", ["--config", str(config)]

    def refused(data: bytes) -> str:
        file.write_bytes(data)
        assert main(["restore", str(file), *words]) == 2
        assert not (config.parent / "cloud" / "store.db").exists()
        return capsys.readouterr().err

    Service(load(config)).parts.store.close()
    assert main(["backup", str(file), *words]) == 0
    good = file.read_bytes()
    shutil.rmtree(config.parent / "cloud")
    assert "is damaged" in refused(b"nothing of the kind")
    assert "is damaged" in refused(good[: len(good) // 2])
    newer = sqlite3.connect(file)
    file.write_bytes(good)
    newer = sqlite3.connect(file)
    newer.execute(f"pragma user_version = {len(STEPS) + 1}")
    newer.commit()
    newer.close()
    assert f"has version {len(STEPS) + 1}" in refused(file.read_bytes())
    foreign = sqlite3.connect(config.parent / "foreign.db")
    foreign.execute("create table t (x)")
    foreign.commit()
    foreign.close()
    assert "is no store of Carnet" in refused((config.parent / "foreign.db").read_bytes())
    assert main(["restore", str(config.parent / "absent.db"), *words]) == 2
    file.write_bytes(good)
    assert main(["restore", str(file), *words]) == 0


def test_a_store_that_is_in_use_is_not_restored_over(tmp_path: Path) -> None:
    store = opened(tmp_path)
    backup.copy(store, tmp_path / "copy.db")
    (tmp_path / "store" / "cloud.db").rename(tmp_path / "gone.db")
    (tmp_path / "store" / "cloud.db-wal").unlink()
    with pytest.raises(UnavailableError) as refused:
        backup.put(tmp_path / "copy.db", tmp_path / "store" / "cloud.db")
    assert refused.value.reason == "store_in_use"
    store.close()


def test_only_the_operator_may_ask_for_a_copy(tmp_path: Path) -> None:
    from carnet_cloud.api import Door
    from carnet_cloud.monitoring.watching import add_backups
    from tests.cloud.test_api import OPERATOR, Client, facts

    cloud, made = Cloud(tmp_path), [7]
    api = make_api(cloud.store, cloud.consents, cloud.offers, TOKEN, cloud.clock.now_ms, facts, *cloud.tell)
    add_backups(api, Door(cloud.store, cloud.consents, TOKEN, cloud.clock.now_ms), made.pop)
    client = Client(api)
    assert client.post("/v1/backups").status_code == 401 and made == [7]
    answer = client.post("/v1/backups", headers=OPERATOR)
    assert (answer.status_code, answer.json()) == (201, {"size_bytes": 7})


def test_a_store_of_a_newer_program_is_refused_at_the_start(config: Path) -> None:
    """Rolling a program back needs the backup from before its update."""
    Service(load(config)).parts.store.close()
    connection = sqlite3.connect(config.parent / "cloud" / "store.db")
    connection.execute(f"pragma user_version = {len(STEPS) + 1}")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError) as refused:
        Service(load(config))
    assert refused.value.reason == "store_newer"
