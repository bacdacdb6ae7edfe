"""Opening a store: one that is refused leaves nothing open."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from carnet.errors import ConfigError, UnavailableError
from carnet.ledger.account import Count
from carnet_cloud.store import SqliteStore, Store
from carnet_cloud.store.migrations import STEPS


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


def test_what_a_store_from_before_the_log_has_delivered_is_counted_once(tmp_path: Path) -> None:
    """And what was in force stays so."""
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as database:
        for step in STEPS[:5]:
            database.executescript(step)
        database.execute("pragma user_version=5")
        database.execute(
            "insert into offer (id, tenant, recipient, document, created_ms)"
            " values ('off_a', 'ten_a', 'rcp_a', x'00', 1)"
        )
        for record, state in (("rec_a", "given"), ("rec_b", "withdrawn")):
            database.execute(
                "insert into record (id, vehicle, epoch, tenant, recipient, offer, jws, state, expires_ms, created_ms)"
                " values (?, x'02', 1, 'ten_a', 'rcp_a', 'off_a', '', ?, 77, 1)",
                (record, state),
            )
        database.execute("insert into event values ('rec_a', 1, '', 1)")
        for number, outcome in enumerate(["confirmed", "unknown", "refused", "destroyed", "queued", "confirmed"]):
            database.execute(
                "insert into delivery values (?, 'rec_a', 'rcp_a', 1, 0, 10, '{}', 0, 0, 0, ?, ?)",
                (bytes([number]), outcome, number),
            )
    database.close()
    store = open_store(path)
    with store.transaction() as t:
        tally, living, ended = t.tallies.get("rec_a", ""), t.consents.record("rec_a"), t.consents.record("rec_b")
    store.close()
    assert (tally.confirmed, tally.unknown, tally.last_event) == (Count(2, 20), Count(2, 20), b"\x05")
    assert living is not None and ended is not None
    assert (living.in_force, living.until_ms, living.ended, ended.ended) == (2, 77, False, True)


def test_a_store_of_every_earlier_version_is_brought_forward(tmp_path: Path) -> None:
    """And what is in it stays: here an offer and a unit, which have not ended."""
    for version in range(1, 5):
        path = tmp_path / f"store-{version}.db"
        with sqlite3.connect(path) as database:
            for step in STEPS[:version]:
                database.executescript(step)
            database.execute(f"pragma user_version={version}")
            database.execute(
                "insert into offer (id, tenant, recipient, document, created_ms)"
                " values ('off_a', 'ten_a', 'rcp_a', x'00', 1)"
            )
            database.execute(
                "insert into device (device, vehicle, tenant, epoch, sign_key, receive_key, state, enrolled_ms)"
                " values (x'01', x'02', 'ten_a', 1, x'03', x'04', 'active', 1)"
            )
        database.close()
        store = open_store(path)
        with store.transaction() as t:
            assert t.consents.offers("ten_a") == [b"\0"]
            assert (t.consents.offer_ended_ms("off_a"), t.devices.ended_ms(b"\1")) == (None, None)
            assert [unit.state for unit in t.devices.of_vehicle(b"\2")] == ["active"]
        store.close()
