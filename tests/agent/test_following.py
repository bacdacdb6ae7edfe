"""A unit follows the log of its cloud: it keeps the largest head, asks for proofs, and keeps what contradicts it."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from carnet.ack import Ack
from carnet.growth import Growth
from carnet.ledger.merkle import EMPTY, TreeHead
from carnet_agent.consent.store import GrantStore, configure
from carnet_agent.effects import Effect, Note
from carnet_agent.following import EVIDENCE_MAX, Following
from tests import consentkit as kit
from tests.agent.linekit import World
from tests.carnet.ledger.kit import Log, hashed

STREAM = b"streamaa"


@pytest.fixture
def db() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    configure(connection)
    return connection


@pytest.fixture
def following(db: sqlite3.Connection) -> Following:
    return begin(db)


def begin(db: sqlite3.Connection) -> Following:
    """As after a start."""
    return Following(GrantStore(db, kit.OWNER, random.Random(3).randbytes))


def told(following: Following, head: TreeHead, *, fresh: bool = True, word: bytes = b"word") -> list[Effect]:
    """``fresh``: it is the answer to a question that was asked just before."""
    if fresh:
        following.asked()
    return answered(following, head, fresh=fresh, word=word)


def answered(following: Following, head: TreeHead, *, fresh: bool = True, word: bytes = b"word") -> list[Effect]:
    named = (head.size, head.root) if head.size else ()
    return following.told(Ack(STREAM, 0, bytes(32), 1, b"n" * 16, (), *named), word, fresh=fresh)


def grown(following: Following, log: Log, first: int, second: int | None = None) -> list[Effect]:
    second = second or log.size
    return following.grown(Growth(first, log.consistency(first, second), log.checkpoint(second)), b"proof")


def test_the_first_head_is_kept_over_starts(following: Following, db: sqlite3.Connection) -> None:
    log = hashed(9)
    assert told(following, log.head(5)) == []
    again = begin(db)
    assert again.size == 5
    assert again.status() == {"size": 5, "verdict": "", "evidence": 0}


def test_an_answer_that_is_overtaken_by_what_came_after_it_is_no_smaller_log(following: Following) -> None:
    """World 4998: a proof of growth came before the answer that the cloud had given before it."""
    log = hashed(9)
    told(following, log.head(5))
    following.asked()
    grown(following, log, 5, 9)
    assert answered(following, log.head(5)) == []
    assert (following.size, following.verdict, following.counters["log_answers_late"]) == (9, "grown", 1)
    following.asked()
    (note,) = answered(following, log.head(8))
    assert isinstance(note, Note) and following.verdict == "shrunk"


def test_before_a_fresh_answer_nothing_begins(following: Following) -> None:
    """An old acknowledgement that somebody sends again may name any head."""
    told(following, hashed(9).head(5), fresh=False)
    assert following.size == 0


def test_a_larger_head_counts_once_it_is_proven(following: Following, db: sqlite3.Connection) -> None:
    log = hashed(9)
    told(following, log.head(5))
    told(following, log.head(9))
    assert following.size == 5
    grown(following, log, 5)
    assert (begin(db).size, following.verdict) == (9, "grown")


def test_a_proof_that_begins_elsewhere_is_late_and_no_fork(following: Following) -> None:
    """Two check-ins were answered, and the second answer came last."""
    log = hashed(12)
    told(following, log.head(5))
    grown(following, log, 5, 9)
    assert grown(following, log, 5, 12) == []
    assert (following.size, following.counters["log_proofs_late"]) == (9, 1)
    assert following.status()["evidence"] == 0


@pytest.mark.parametrize("fresh", [True, False])
def test_another_root_of_the_same_size_is_a_fork_whenever_it_was_said(
    following: Following, db: sqlite3.Connection, fresh: bool
) -> None:
    """Both words are kept as they were signed, and the log goes on being what it was."""
    log, other = hashed(9), hashed(9, b"x")
    told(following, log.head(5), word=b"the first")
    (note,) = told(following, other.head(5), fresh=fresh, word=b"the other")
    assert isinstance(note, Note)
    assert following.counters["log_forked"] == 1
    (evidence,) = map(json.loads, GrantStore(db, kit.OWNER, bytes).log_evidence)
    assert evidence["seen"] == {"size": 5, "root": log.head(5).root.hex(), "word": b"the first".hex()}
    assert evidence["told"] == {"size": 5, "root": other.head(5).root.hex(), "word": b"the other".hex()}
    assert following.size == 5
    grown(following, log, 5)
    assert following.size == 9


def test_a_proof_that_does_not_hold_is_a_fork(following: Following) -> None:
    log, other = hashed(9), hashed(9, b"x")
    told(following, log.head(5))
    assert len(grown(following, other, 5)) == 1
    assert (following.size, following.verdict) == (5, "forked")


def test_a_smaller_log_is_shrunk_only_as_the_answer_to_our_question(following: Following) -> None:
    """An acknowledgement that was held up names a smaller one by right."""
    log = hashed(9)
    told(following, log.head(9))
    assert told(following, log.head(5), fresh=False) == []
    assert len(told(following, log.head(5))) == 1
    assert len(told(following, EMPTY)) == 1
    assert following.counters["log_shrunk"] == 2


def test_the_same_contradiction_is_said_once_and_counted_on(following: Following) -> None:
    log = hashed(40)
    told(following, log.head(39))
    assert sum(len(told(following, log.head(5), word=bytes([n]))) for n in range(5)) == 1
    assert following.counters["log_shrunk"] == 5
    for size in range(1, 38):
        told(following, log.head(size))
    assert following.status()["evidence"] == EVIDENCE_MAX


# with the real cloud


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.connect()
    yield world
    assert not {name: n for name, n in world.rig.agent.counters().items() if name.startswith("down_") and n}


def log_status(world: World) -> dict[str, object]:
    status = world.rig.agent.status()["log"]
    assert isinstance(status, dict)
    return status


def test_a_unit_follows_the_log_of_its_cloud(world: World) -> None:
    """By the answers to its check-ins, and every box says how far it has come."""
    token = world.give()
    world.drive(70)
    world.connect(False)
    world.connect()
    world.drive(5)
    assert (log_status(world)["size"], log_status(world)["evidence"]) == (2, 0)
    world.cloud.consents.event(kit.event("pause", [token], world.rig.wall_ms), kit.RECORD_ID)
    world.connect(False)
    world.connect()
    world.drive(5)
    assert (log_status(world)["size"], log_status(world)["evidence"]) == (3, 0)
    assert world.rig.agent._out.seal(world.rig.moment()).prelude.log_size == 3


def test_a_cloud_that_rewrites_its_log_is_found_out_by_the_unit(world: World) -> None:
    world.give()
    world.drive(70)
    world.connect(False)
    world.connect()
    world.drive(5)
    world.cloud.store._connection.execute("update log set root = ?", (bytes([7]) * 32,))
    world.drive(70)
    assert (log_status(world)["verdict"], log_status(world)["evidence"]) == ("forked", 1)
    assert world.rig.count("log_forked") >= 1


def test_a_cloud_behind_the_log_that_a_unit_has_seen_sends_nothing(world: World) -> None:
    """Law 3, as for generations: the store was restored, and the owner has to confirm. It is asked of him once."""
    token = world.give()
    world.cloud.consents.event(kit.event("pause", [token], world.rig.wall_ms), kit.RECORD_ID)
    world.drive(5)
    world.connect(False)
    world.connect()
    world.drive(5)
    world.cloud.store._connection.execute("update log set size = 2, root = ?", (bytes([7]) * 32,))
    world.connect(False)
    world.connect()
    world.drive(5)
    with world.cloud.store.transaction() as t:
        stored = t.consents.record(kit.RECORD_ID)
    assert stored is not None
    assert stored.silent
    assert log_status(world)["verdict"] == "shrunk"
    assert world.cloud.counters()["behind_log_floor"] == 1
    world.cloud.consents.confirm(kit.RECORD_ID)
    world.connect(False)
    world.connect()
    world.drive(5)
    with world.cloud.store.transaction() as t:
        stored = t.consents.record(kit.RECORD_ID)
    assert stored is not None
    assert not stored.silent
