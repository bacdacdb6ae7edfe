"""Receivers share the shards: each from the same facts, all of them together every one, none twice."""

from __future__ import annotations

import random

import pytest

from carnet_cloud.running.sharing import SHARDS, Plan, plan, share_of

ONE, TWO, THREE = (bytes([number]) * 8 for number in (1, 2, 3))


def turn(me: bytes, members: set[bytes], owners: dict[int, bytes]) -> Plan:
    """What a receiver does, done."""
    todo = plan(me, members, owners)
    for shard in todo.give_back:
        assert owners.pop(shard) == me
    for shard in todo.take:
        assert shard not in owners
        owners[shard] = me
    return todo


def test_the_only_receiver_serves_all() -> None:
    owners: dict[int, bytes] = {}
    turn(ONE, {ONE}, owners)
    assert owners == dict.fromkeys(range(SHARDS), ONE)


def test_a_second_one_gets_its_half_once_it_was_given_back() -> None:
    owners = dict.fromkeys(range(SHARDS), ONE)
    assert turn(TWO, {ONE, TWO}, owners) == Plan()
    assert len(turn(ONE, {ONE, TWO}, owners).give_back) == SHARDS // 2
    assert len(turn(TWO, {ONE, TWO}, owners).take) == SHARDS // 2
    assert len(owners) == SHARDS


def test_with_a_share_for_everybody_no_shard_changes_hands() -> None:
    owners = {shard: ONE if shard % 2 else TWO for shard in range(SHARDS)}
    assert turn(ONE, {ONE, TWO}, owners) == turn(TWO, {ONE, TWO}, owners) == Plan()


@pytest.mark.parametrize("count", range(1, 10))
def test_all_shares_together_are_all_shards(count: int) -> None:
    members = [bytes([number]) for number in range(count)]
    shares = [share_of(me, members) for me in members]
    assert sum(shares) == SHARDS
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("seed", range(30))
def test_whoever_comes_and_goes_all_shards_are_served_after_two_turns_of_everybody(seed: int) -> None:
    """In any order of turns; no shard is ever served by two, for there is one owner written down."""
    chance = random.Random(seed)
    owners: dict[int, bytes] = {}
    members: set[bytes] = set()
    for _ in range(20):
        if members and chance.random() < 0.5:
            gone = chance.choice(sorted(members))
            members.discard(gone)
            owners = {shard: owner for shard, owner in owners.items() if owner != gone}
        members.add(chance.randbytes(8))
        for _ in range(2):
            for me in chance.sample(sorted(members), len(members)):
                turn(me, members, owners)
        assert set(owners) == set(range(SHARDS))
        assert {sum(owner == me for owner in owners.values()) - SHARDS // len(members) for me in members} <= {0, 1}
