"""Opening a store: one that is refused leaves nothing open."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.store import SqliteStore, Store


def open_store(path: Path) -> Store:
    return SqliteStore.open(path, incarnation=b"i" * 16, now_ms=1)


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("pragma application_id=7")
    database.close()


def newer(path: Path) -> None:
    open_store(path).close()
    with sqlite3.connect(path) as database:
        database.execute("pragma user_version=1000")
    database.close()


def rubbish(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 100)


@pytest.mark.parametrize(
    ("make", "reason"), [(foreign, "store_foreign"), (newer, "store_newer"), (rubbish, "store_unreadable")]
)
def test_a_store_that_is_refused_is_closed(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    """Its lock and its descriptors go although the error is kept."""
    path = tmp_path / "store.db"
    make(path)
    with pytest.raises(ConfigError) as refused:
        open_store(path)
    assert refused.value.reason == reason
    assert [name for name in open_files() if name.startswith(str(tmp_path))] == []
    # not in use, but refused again
    with pytest.raises(ConfigError):
        open_store(path)


def open_files() -> list[str]:
    """What this process has open, by path."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        # the descriptor of the listing itself is gone by now
        with contextlib.suppress(OSError):
            found.append(str(descriptor.readlink()))
    return found


def test_a_store_that_is_open_is_refused_to_others_until_it_is_closed(tmp_path: Path) -> None:
    first = open_store(tmp_path / "store.db")
    with pytest.raises(UnavailableError):
        open_store(tmp_path / "store.db")
    first.close()
    open_store(tmp_path / "store.db").close()
