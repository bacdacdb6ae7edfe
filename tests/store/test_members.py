"""Receivers that share one PostgreSQL share its shards, and one that is dead holds nobody up."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.config import StoreSection
from carnet_cloud.running.membership import MEMBER_MS, Membership
from carnet_cloud.running.opening import open_alone
from carnet_cloud.running.sharing import SHARDS
from carnet_cloud.store.postgres import PostgresStore
from tests.cloud.kit import Cloud, Unit
from tests.store.backends import OnPostgres


def members(stores: list[PostgresStore]) -> list[Membership]:
    return [Membership(store, bytes([number]) * 8) for number, store in enumerate(stores)]


def test_receivers_share_all_shards_and_give_them_back(many: OnPostgres) -> None:
    first, second = members([many.open(), many.open()])
    assert len(first.turn()) == SHARDS
    assert second.turn() == frozenset()
    assert len(first.turn()) == SHARDS // 2
    assert len(second.turn()) == SHARDS // 2
    assert first.turn() | second.turn() == frozenset(range(SHARDS))
    first.leave()
    assert len(second.turn()) == SHARDS
    second.leave()
    assert many.rows("select count(*) from receiver") == [(0,)]


def test_a_receiver_that_leaves_gives_back_nothing_in_the_middle_of_its_transaction(
    stores: list[PostgresStore],
) -> None:
    """Its loop did not end in time: another one that served the shard would take what it is about to commit."""
    (first,) = members(stores[:1])
    first.turn()
    with stores[1].transaction() as t:
        assert len(first.serving(t)) == SHARDS
        first.leave()
    with stores[2].transaction() as t:
        assert len(t.shards.of(bytes(8))) == SHARDS


def test_the_shards_of_a_receiver_that_shows_no_life_are_taken_over(stores: list[PostgresStore]) -> None:
    """Not before its time is over by the store's clock, and not in the middle of its transaction."""
    first, second = members(stores[:2])
    first.turn()
    assert second.turn() == frozenset()
    with stores[2].transaction() as t:
        t.shards.live(bytes(8), t.others.now_ms() - 1)
    with stores[0].transaction() as t:
        assert len(first.serving(t)) == SHARDS
        assert second.turn() == frozenset()
    assert len(second.turn()) == SHARDS
    with stores[0].transaction() as t:
        assert first.serving(t) == frozenset()
    assert MEMBER_MS < 5000


def test_messages_of_a_shard_that_others_serve_are_left_to_them(clouds: list[Cloud], unit: Unit) -> None:
    """Neither taken nor acknowledged: the car sends them again."""
    clouds[0].give()
    number = unit.device[0]
    clouds[0].receiver._serving = lambda _: frozenset(range(SHARDS)) - {number}
    payload = unit.schema()
    assert clouds[0].send(payload) == []
    assert clouds[0].counters()["shard_of_another"] == 1
    assert clouds[0].ask("select count(*) from replay") == (0,)
    clouds[1].receiver._serving = lambda _: frozenset({number})
    assert len(unit.acks(clouds[1].send(payload))) == 1


def test_a_receiver_with_a_journal_of_its_own_does_not_start_beside_others(stores: list[PostgresStore]) -> None:
    first, second = members(stores[:2])
    second.require_journal(stores[2], lambda *_: False)
    first.turn()
    second.require_journal(stores[2], lambda *_: True)
    with pytest.raises(ConfigError) as refused:
        second.require_journal(stores[2], lambda *_: False)
    assert refused.value.reason == "journal_other"


def test_a_command_leaves_a_store_to_the_receivers_that_work_on_it(
    stores: list[PostgresStore], many: OnPostgres
) -> None:
    """It asks the running service, as with a file that is in use; afterwards it opens the store itself."""
    section = StoreSection(url=many.url, journal=Path("journal/narrowings"), wrapping_keys=Path("keys"))
    (first,) = members(stores[:1])
    first.turn()
    with pytest.raises(UnavailableError) as refused:
        open_alone(section, b"i" * 16, 1)
    assert refused.value.reason == "store_in_use"
    first.leave()
    open_alone(section, b"i" * 16, 1).close()
