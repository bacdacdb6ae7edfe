"""What every store promises of a transaction: all or nothing, durable when it returns, and told as our reasons."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from carnet.errors import UnavailableError
from carnet_cloud.store import Store, Transaction
from tests.layout import CHECKOUT
from tests.store.backends import Backend, OnPostgres

VEHICLE = bytes(range(16))


class Stop(Exception):
    """Raised in the middle."""


def write(t: Transaction, number: int = 1) -> None:
    """Something in several tables."""
    t.consents.raise_generation(VEHICLE, 1)
    t.blocks.add(VEHICLE, f"rec_{number}", "Vehicle.Speed", "owner", 3, 1000)
    t.streams.begin(VEHICLE, b"streamaa", 1000)
    t.counters.add("written")


def stop(_: Transaction) -> None:
    raise Stop


def twice(t: Transaction) -> None:
    """A number of a stream for the second time, which no table takes."""
    for _ in range(2):
        t.streams.remember(VEHICLE, b"streamaa", 1, bytes(32), bytes(32))


def twice_and_caught(t: Transaction) -> None:
    with contextlib.suppress(psycopg.errors.UniqueViolation):
        twice(t)


def run(store: Store, *works: Callable[[Transaction], None]) -> None:
    with store.transaction() as t:
        for work in works:
            work(t)


def found(store: Store) -> tuple[int, int, int, int]:
    with store.transaction() as t:
        return (
            t.consents.generation(VEHICLE, 1),
            len(t.blocks.of(VEHICLE)),
            t.streams.count(VEHICLE),
            t.counters.all().get("written", 0),
        )


def test_what_was_committed_is_there_for_the_next_program(backend: Backend) -> None:
    first = backend.open()
    with first.transaction() as t:
        write(t)
    first.close()
    again = backend.open()
    assert found(again) == (1, 1, 1, 1)
    assert again.incarnation == b"i" * 16
    again.close()


def test_a_transaction_that_fails_leaves_nothing_not_even_its_counters(store: Store) -> None:
    with pytest.raises(Stop):
        run(store, write, stop)
    assert found(store) == (0, 0, 0, 0)
    run(store, write)
    assert found(store) == (1, 1, 1, 1)


def test_a_statement_that_fails_rolls_the_whole_transaction_back(store: Store) -> None:
    """And the store goes on: the next transaction is a new one."""
    with pytest.raises(Exception, match=r"(?i)unique"):
        run(store, write, twice)
    assert found(store) == (0, 0, 0, 0)


def test_a_failed_statement_that_somebody_caught_is_never_told_as_a_commit(many: OnPostgres) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK then; SQLite undoes the one statement and goes on."""
    store = many.open()
    with pytest.raises(UnavailableError):
        run(store, write, twice_and_caught)
    # also where nothing follows that the server could refuse
    with pytest.raises(UnavailableError):
        run(store, twice_and_caught)
    assert found(store) == (0, 0, 0, 0)
    store.close()


def test_nested_use_joins_the_outer_transaction(store: Store) -> None:
    def inside(outer: Transaction) -> None:
        with store.transaction() as inner:
            assert inner is outer
            write(inner)
        assert found(store) == (1, 1, 1, 1)

    with pytest.raises(Stop):
        run(store, inside, stop)
    assert found(store) == (0, 0, 0, 0)


def test_threads_take_turns_and_no_update_is_lost(store: Store) -> None:
    def work() -> None:
        for _ in range(20):
            with store.transaction() as t:
                t.consents.raise_generation(VEHICLE, 1)
                t.counters.add("written")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.transaction() as t:
        assert t.consents.generation(VEHICLE, 1) == 80
        assert t.counters.all() == {"written": 80}


CHILD = """
import os, sys
from pathlib import Path
from tests.store.backends import Sqlite
from tests.store.test_transactions import write
if sys.argv[1] == "sqlite":
    store = Sqlite(Path(sys.argv[2])).open()
else:
    from carnet_cloud.store.postgres import PostgresStore
    store = PostgresStore(sys.argv[2], incarnation=b"i" * 16, now_ms=1)
with store.transaction() as t:
    write(t)
with store.transaction() as t:
    for number in range(2, 50):
        write(t, number)
    t.counters.flush()
    print("in the middle", flush=True)
    sys.stdin.read()
"""


def test_a_program_that_is_killed_in_a_transaction_leaves_the_last_whole_one(backend: Backend, tmp_path: Path) -> None:
    """kill -9 with everything written and nothing committed; nobody waits for the dead."""
    where = backend.url if isinstance(backend, OnPostgres) else str(tmp_path)
    command = [sys.executable, "-c", CHILD, backend.name, where]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "tools")}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"in the middle\n"
        os.kill(child.pid, signal.SIGKILL)
    store = backend.open()
    assert found(store) == (1, 1, 1, 1)
    with store.transaction() as t:
        write(t)
    assert found(store) == (2, 1, 1, 2)
    store.close()
