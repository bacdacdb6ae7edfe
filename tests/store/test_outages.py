"""A PostgreSQL that is absent, refuses, ends or comes back: what is told, and that nothing is answered or sent."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.store import Transaction
from carnet_cloud.store.postgres import PostgresStore
from carnet_cloud.store.postgres.store import AGAIN_S
from tests import consentkit as kit
from tests.cloud import kit as cloudkit
from tests.cloud.forwardkit import Listener, make_forwarder
from tests.cloud.kit import Cloud, Unit
from tests.store.backends import INCARNATION, NOW_MS, OnPostgres
from tests.store.test_transactions import found, run, write
from tests.system.mosquitto import HOST, free_port
from tests.system.postgres import PASSWORD, Postgres

WRONG = "not-the-password-of-the-tests"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One that these tests may stop."""
    made = Postgres()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def place(server: Postgres) -> OnPostgres:
    return OnPostgres(server)


@pytest.fixture
def store(place: OnPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStore]:
    """Which does not wait before it tries again."""
    monkeypatch.setattr("carnet_cloud.store.postgres.store.AGAIN_S", 0.0)
    opened = place.open()
    yield opened
    opened.close()


def open_url(url: str, password: str | None = None) -> PostgresStore:
    return PostgresStore(url, incarnation=INCARNATION, now_ms=NOW_MS, password=password)


# opening


def test_a_server_that_is_not_there_is_told_with_its_place() -> None:
    port = free_port()
    with pytest.raises(UnavailableError) as refused:
        open_url(f"postgresql://carnet@{HOST}:{port}/carnet")
    assert refused.value.reason == "store_unavailable"
    assert str(port) in str(refused.value)


def test_a_password_opens_and_a_wrong_one_is_told_without_it(place: OnPostgres) -> None:
    url = place.server.tcp_url(place.database)
    open_url(url, PASSWORD).close()
    with pytest.raises(UnavailableError, match="password authentication failed") as refused:
        open_url(url, WRONG)
    assert WRONG not in repr(refused.value) + repr(refused.value.__cause__)


def test_a_database_that_is_not_there_is_told(server: Postgres) -> None:
    with pytest.raises(UnavailableError, match="nowhere"):
        open_url(server.url("nowhere"))


def test_an_address_that_is_none_is_told(server: Postgres) -> None:
    with pytest.raises(ConfigError) as refused:
        open_url("postgresql:///carnet?no_such_setting=1")
    assert refused.value.reason == "store_url"


def test_a_server_that_may_lose_what_it_confirms_is_refused(place: OnPostgres) -> None:
    server = place.server
    server.stop()
    server.start(fsync="off")
    try:
        with pytest.raises(ConfigError) as refused:
            place.open()
    finally:
        server.stop()
        server.start()
    assert refused.value.reason == "store_fsync"
    place.open().close()


def test_commits_are_synchronous_whatever_the_database_says(place: OnPostgres) -> None:
    with psycopg.connect(place.url, autocommit=True) as connection:
        connection.execute(f"alter database {place.database} set synchronous_commit = off".encode())
    store = place.open()
    assert store._db.one("show synchronous_commit") == ("on",)
    store.close()


# going on


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_the_store_goes_on_when_its_server_was_started_again(
    server: Postgres, store: PostgresStore, how: signal.Signals
) -> None:
    """What was committed before is there, and the first transaction afterwards is an ordinary one."""
    run(store, write)
    server.stop(how)
    server.start()
    assert found(store) == (1, 1, 1, 1)
    run(store, write)
    assert found(store) == (2, 1, 1, 2)


def test_a_server_that_ends_in_a_transaction_keeps_nothing_of_it(server: Postgres, store: PostgresStore) -> None:
    run(store, write)

    def end(_: Transaction) -> None:
        server.stop(signal.SIGQUIT)

    with pytest.raises(UnavailableError) as refused:
        run(store, write, end)
    assert refused.value.reason == "store_unavailable"
    with pytest.raises(UnavailableError):
        found(store)
    server.start()
    assert found(store) == (1, 1, 1, 1)


def test_a_store_that_is_away_is_not_knocked_at_without_end(place: OnPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks within the next moment is told at once; after it the server is asked again."""
    store, seconds = place.open(), [100.0]
    monkeypatch.setattr("carnet_cloud.store.postgres.store.monotonic", lambda: seconds[0])
    place.server.stop()
    with pytest.raises(UnavailableError, match="No such file"):
        found(store)
    place.server.start()
    with pytest.raises(UnavailableError, match="a moment ago"):
        found(store)
    seconds[0] += AGAIN_S
    assert found(store) == (0, 0, 0, 0)
    store.close()


def test_another_store_in_the_same_place_is_refused(place: OnPostgres, store: PostgresStore) -> None:
    """It would know nothing of what was withdrawn; a start looks at the journal first."""
    other = PostgresStore(place.server.url(place.server.database()), incarnation=b"o" * 16, now_ms=NOW_MS)
    store._url = other._url
    other.close()
    store._db.connection.close()
    for _ in range(2):
        with pytest.raises(UnavailableError) as refused:
            found(store)
        assert refused.value.reason == "store_other"


def test_a_return_is_told_with_what_the_store_has_applied_of_the_journal(store: PostgresStore) -> None:
    """It may have gone back in time: a backup was restored while we were away."""
    with store.transaction() as t:
        t.consents.set_journal_lines(3, b"three")
    told: list[tuple[int, bytes]] = []
    store.on_return = lambda *applied: told.append(applied)
    found(store)
    assert told == []
    store._db.connection.close()
    found(store)
    assert told == [(3, b"three")]


def test_a_store_that_must_not_be_used_as_it_is_stays_away(store: PostgresStore) -> None:
    """It came back from before the journal of narrowings was begun: only a start can silence what it lacks."""

    def refuse(_lines: int, _digest: bytes) -> None:
        raise UnavailableError("journal_other", "start again")

    store.on_return = refuse
    store._db.connection.close()
    for _ in range(2):
        store._again_s = 0.0
        with pytest.raises(UnavailableError), store.transaction():
            raise AssertionError("nothing may be done in it")
        assert store._db.connection.closed


# what the product does meanwhile


def test_while_the_store_is_away_nothing_is_acknowledged_and_nothing_forwarded(
    server: Postgres, store: PostgresStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And afterwards what was published again is taken, and every event goes out once."""
    monkeypatch.setattr(cloudkit, "memory_store", lambda: store)
    cloud, unit, listener = Cloud(tmp_path), Unit(), Listener()
    cloud.enrol(unit)
    token = cloud.give()
    forwarder = make_forwarder(cloud, listener)
    cloud.send(unit.schema(), unit.data())
    server.stop(signal.SIGQUIT)
    waiting = unit.data()
    with pytest.raises(UnavailableError):
        cloud.send(waiting)
    with pytest.raises(UnavailableError):
        forwarder.step(kit.RECIPIENT)
    with pytest.raises(UnavailableError):
        cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms), kit.RECORD_ID)
    assert listener.got == []
    server.start()
    (ack,) = unit.acks(cloud.send(waiting))
    assert ack.ranges[-1][1] == unit.seq
    assert forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == len(set(listener.got)) == 2
