"""Outbox keys are wrapped by a key outside the database; after an hour the old one opens nothing any more."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.store import SqliteStore, Store
from carnet_cloud.wrapping import Wrapping, open_sealed, seal

KEY = bytes(range(32))


@pytest.fixture
def store() -> Store:
    return SqliteStore(sqlite3.connect(":memory:"), incarnation=b"i" * 16, now_ms=1)


def test_a_wrapped_key_opens_only_with_its_wrapping_key(tmp_path: Path) -> None:
    """And survives a restart of the program."""
    wrapped = Wrapping(tmp_path / "a", random.Random(1).randbytes).wrap(KEY)
    assert Wrapping(tmp_path / "a", random.Random(2).randbytes).unwrap(*wrapped) == KEY
    assert Wrapping(tmp_path / "b", random.Random(3).randbytes).unwrap(*wrapped) is None


def test_after_a_rotation_old_wrappings_are_unreadable_and_living_keys_are_not(tmp_path: Path, store: Store) -> None:
    """What a backup or a dead row still holds is forgotten within the hour."""
    wrapping = Wrapping(tmp_path, random.Random(1).randbytes)
    old = wrapping.wrap(KEY)
    with store.transaction() as t:
        t.outbox_keys.set("rec", "rcp", *old)
    assert wrapping.rotate(store, 1) == 1
    assert wrapping.unwrap(*old) is None
    with store.transaction() as t:
        new = t.outbox_keys.get("rec", "rcp")
    assert new is not None
    assert wrapping.unwrap(*new) == KEY
    assert len(list(tmp_path.glob("*.key"))) == 1


def test_an_altered_or_foreign_sealed_text_does_not_open() -> None:
    """Bound to its place by the context."""
    sealed = seal(b"plain", KEY, b"event-1", random.Random(1).randbytes)
    assert open_sealed(sealed, KEY, b"event-1") == b"plain"
    assert open_sealed(sealed, KEY, b"event-2") is None
    assert open_sealed(sealed[:-1], KEY, b"event-1") is None
    assert open_sealed(b"short", KEY, b"event-1") is None


def test_key_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """And a damaged one stops the start."""
    Wrapping(tmp_path, random.Random(1).randbytes)
    (file,) = tmp_path.glob("*.key")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"short")
    with pytest.raises(ConfigError):
        Wrapping(tmp_path, random.Random(1).randbytes)


@pytest.mark.parametrize("empty", [False, True], ids=["gone", "empty"])
def test_a_folder_that_is_gone_for_a_while_costs_nothing(tmp_path: Path, store: Store, empty: bool) -> None:
    """A disk that is not mounted: nothing is wrapped, nothing is given up, and it all opens when it is back."""
    folder, away = tmp_path / "keys", tmp_path / "away"
    wrapping = Wrapping(folder, random.Random(1).randbytes)
    with store.transaction() as t:
        t.outbox_keys.set("rec", "rcp", *wrapping.wrap(KEY))
    folder.rename(away)
    if empty:
        folder.mkdir()
    assert not wrapping.is_there()
    with pytest.raises(UnavailableError):
        wrapping.wrap(KEY)
    with pytest.raises(UnavailableError):
        wrapping.rotate(store, 1)
    with pytest.raises(UnavailableError):
        wrapping.unwrap(b"wrapped", b"by one that another program made")
    with store.transaction() as t:
        kept = t.outbox_keys.get("rec", "rcp")
    assert kept is not None
    assert wrapping.unwrap(*kept) == KEY
    if empty:
        folder.rmdir()
    away.rename(folder)
    assert wrapping.rotate(store, 1) == 1
    with store.transaction() as t:
        again = t.outbox_keys.get("rec", "rcp")
    assert again is not None
    assert wrapping.unwrap(*again) == KEY
