"""The log of a cloud: every entry gets one place, what widens waits for it, and no crash or rival spoils the tree."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from carnet.errors import ConfigError, Error, UnavailableError
from carnet.grantsets import parse_grant_set
from carnet.ids import format_id
from carnet.keys import SigningKey
from carnet.ledger.checkpoint import verify_checkpoint
from carnet.ledger.merkle import Node
from carnet.ledger.signednote import NoteKey
from carnet_cloud.gate import Blocked, may_send
from carnet_cloud.grantsets import grant_set_bytes
from carnet_cloud.ledger.sequencer import LEASE_MS, LEAVES_AT_ONCE, Sequencer
from carnet_cloud.service import SEQUENCE_S
from carnet_cloud.store.ledger import StoredLeaf, StoredLog
from tests import consentkit as kit
from tests.carnet.ledger.rfc6962 import Tree
from tests.cloud.kit import LOG_KEY, VEHICLE, Cloud, Unit, readings

SKEW_MS = 100
"""By which the clocks of two receivers may differ."""

OTHERS = [format_id("rec_", b"another-%02d" % n) for n in range(20)]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """Leaves wait until somebody calls the sequencer."""
    cloud = Cloud(tmp_path)
    cloud.enrol(Unit())
    cloud.lagging = True
    return cloud


def log_of(cloud: Cloud) -> StoredLog:
    with cloud.store.transaction() as t:
        log = t.ledger.log(kit.TENANT)
    assert log is not None
    return log


def leaves_of(cloud: Cloud, *records: str) -> list[dict[str, Any]]:
    """All that are in the log, in its order, after the tree over them was built anew and found signed."""
    with cloud.store.transaction() as t:
        every = [each for of in (kit.TENANT, kit.RECORD_ID, *records) for each in t.ledger.leaves(of)]
    placed = sorted((each.position, each.salt + each.document) for each in every if each.position is not None)
    log = log_of(cloud)
    assert [place for place, _ in placed] == list(range(log.size))
    head = verify_checkpoint(log.checkpoint, [NoteKey(log.origin, LOG_KEY.public)]).head
    assert (head.size, head.root) == (log.size, log.root)
    assert head.root == Tree(tuple(data for _, data in placed)).mth(0, log.size)
    return [json.loads(data[16:]) for _, data in placed]


def blocked(cloud: Cloud) -> Blocked | None:
    with cloud.store.transaction() as t:
        return may_send(cloud.book.standing(t, kit.RECORD_ID), cloud.clock.ms)


def delivered(cloud: Cloud) -> tuple[int, list[tuple[str, int]]]:
    """Generation of the car's grant set, and its records with the number of their events."""
    with cloud.store.transaction() as t:
        found = parse_grant_set(grant_set_bytes(t, VEHICLE, 1))
    return found.generation, [(each.record, len(each.events)) for each in found.records]


def happen(cloud: Cloud, kind: str, entries: Sequence[str], **more: Any) -> str:
    cloud.clock.ms += 1000
    entry = kit.event(kind, list(entries), cloud.clock.ms, **more)
    cloud.consents.event(entry, kit.RECORD_ID)
    return entry


# law 3: what widens waits for its place, what narrows does not


def test_a_record_is_in_force_once_the_log_has_it(cloud: Cloud) -> None:
    token = cloud.give()
    assert blocked(cloud) is Blocked.LOG
    assert delivered(cloud) == (0, [])
    assert cloud.changed == []
    assert cloud.sequencer.turns() == 2
    assert blocked(cloud) is None
    assert delivered(cloud) == (1, [(token, 0)])
    assert cloud.changed == [VEHICLE]
    first, given = leaves_of(cloud)
    assert (first["kind"], first["origin"], first["tenant"]) == ("log", log_of(cloud).origin, kit.TENANT)
    assert (given["record"], given["seq"], given["event"], given["state"], given["generation"]) == (
        kit.RECORD_ID, 0, "give", "given", 1
    )  # fmt: skip


def test_why_says_that_the_log_is_waited_for(cloud: Cloud) -> None:
    cloud.give()
    with cloud.store.transaction() as t:
        (answer,) = cloud.explain(t, VEHICLE, kit.SPEED, cloud.clock.ms)
    assert answer.verdict == "log"


def test_readings_of_a_record_that_is_not_logged_go_nowhere(cloud: Cloud) -> None:
    cloud.give()
    unit = Unit(generation=0)
    cloud.send(unit.schema(), unit.data())
    assert cloud.events() == []
    assert cloud.counters()["blocked_log"] == 8


def test_an_event_names_the_place_of_the_consent_that_made_it(cloud: Cloud) -> None:
    unit, token = Unit(), cloud.give()
    cloud.sequencer.turns()
    cloud.send(unit.schema(), unit.data())
    pause = happen(cloud, "pause", [token])
    happen(cloud, "resume", [token, pause])
    cloud.sequencer.turns()
    unit.boot_ms += cloud.clock.ms + 60_000 - unit.wall_ms
    unit.wall_ms = cloud.clock.ms = cloud.clock.ms + 60_000
    cloud.send(unit.data(readings(boot_ms=unit.boot_ms)))
    (event,) = cloud.events()
    assert event["data"]["log_position"] == 3
    assert leaves_of(cloud)[3]["event"] == "resume"
    with cloud.store.transaction() as t:
        assert sorted(each.log_position for each in t.outbox.deliveries(kit.RECORD_ID)) == [1, 3]


def test_a_withdrawal_waits_for_no_log(cloud: Cloud) -> None:
    token = cloud.give()
    cloud.sequencer.turns()
    happen(cloud, "withdraw", [token])
    assert blocked(cloud) is Blocked.OWNER
    generation, records = delivered(cloud)
    assert (generation, records) == (3, [])
    assert len(leaves_of(cloud)) == 2
    cloud.sequencer.turns()
    assert [leaf.get("event", leaf["kind"]) for leaf in leaves_of(cloud)[1:]] == ["give", "withdraw", "end", "silent"]
    assert delivered(cloud)[0] == generation, "nothing that is in force has changed"


def test_a_record_that_ends_before_it_is_logged_never_was_in_force(cloud: Cloud) -> None:
    token = cloud.give()
    happen(cloud, "withdraw", [token])
    cloud.sequencer.turns()
    assert blocked(cloud) is Blocked.OWNER
    assert [leaf.get("event", leaf["kind"]) for leaf in leaves_of(cloud)[1:]] == ["give", "withdraw", "end", "silent"]


def test_a_resumption_is_in_force_once_the_log_has_it(cloud: Cloud) -> None:
    """The car hears of the pause with what stood before it, and of the rest later."""
    token = cloud.give()
    cloud.sequencer.turns()
    pause = happen(cloud, "pause", [token])
    happen(cloud, "resume", [token, pause])
    assert blocked(cloud) is Blocked.LOG
    assert delivered(cloud) == (2, [(token, 1)])
    cloud.sequencer.turns()
    assert blocked(cloud) is None
    assert delivered(cloud) == (3, [(token, 2)])


def test_with_the_sequencer_down_existing_grants_go_on_to_their_end(cloud: Cloud) -> None:
    end_ms = cloud.clock.ms + 60_000
    token = cloud.give(expires_ms=end_ms)
    cloud.sequencer.turns()
    happen(cloud, "renew", [token], expires_ms=end_ms + 60_000)
    assert blocked(cloud) is None
    assert delivered(cloud) == (1, [(token, 0)])
    cloud.clock.ms = end_ms
    assert blocked(cloud) is Blocked.LOG
    cloud.sequencer.turns()
    assert blocked(cloud) is None
    cloud.clock.ms = end_ms + 60_000
    assert blocked(cloud) is Blocked.EXPIRED


def test_what_narrows_takes_along_what_it_hangs_on(cloud: Cloud) -> None:
    """A pause after a renewal that is not logged yet: its hash names the renewal, and together they allow nothing."""
    end_ms = cloud.clock.ms + kit.DAY_MS
    token = cloud.give(expires_ms=end_ms)
    cloud.sequencer.turns()
    renewal = happen(cloud, "renew", [token], expires_ms=end_ms + kit.DAY_MS)
    happen(cloud, "pause", [token, renewal])
    assert blocked(cloud) is Blocked.OWNER
    assert delivered(cloud) == (2, [(token, 2)])


def test_one_generation_has_one_content(cloud: Cloud) -> None:
    """Whatever happens in whatever order: a car that has seen a generation never sees it with other bytes."""
    source = random.Random(7)
    seen: dict[int, bytes] = {}
    cloud.offers.publish(kit.OFFER)
    entries: dict[str, list[str]] = {}
    for _ in range(300):
        cloud.clock.ms += 1000
        with cloud.store.transaction() as t:
            data = grant_set_bytes(t, VEHICLE, 1)
            generation = t.consents.generation(VEHICLE, 1)
        assert seen.setdefault(generation, data) == data
        record = source.choice(OTHERS)
        if source.random() < 0.3:
            cloud.sequencer.turns()
        elif record not in entries:
            token = kit.token(id=record, given_ms=cloud.clock.ms, not_before_ms=cloud.clock.ms)
            entries[record] = [token]
            cloud.consents.give(token, kit.VEHICLE)
        elif len(entries[record]) < 200:
            kind = "pause" if len(entries[record]) % 2 else "resume"
            entry = kit.event(kind, entries[record], cloud.clock.ms, record=record)
            cloud.consents.event(entry, record)
            entries[record].append(entry)
    cloud.sequencer.turns()
    assert len(leaves_of(cloud, *OTHERS)) == 1 + sum(map(len, entries.values()))
    assert len(seen) > 100


# law 6: the tree


def test_leaves_get_their_places_in_the_order_of_each_record(cloud: Cloud) -> None:
    """Also if the server's clock goes back between two entries, and in portions."""
    token = cloud.give()
    entries = [token]
    resumed_ms = cloud.clock.ms
    for number in range(10):
        cloud.clock.ms -= 5_000
        entries.append(kit.event("resume" if number % 2 else "pause", entries, resumed_ms))
        cloud.consents.event(entries[-1], kit.RECORD_ID)
    cloud.sequencer.turns()
    assert [leaf["seq"] for leaf in leaves_of(cloud)[1:]] == list(range(len(entries)))


class Failing:
    """A connection that breaks at one of the next statements, as a disk does."""

    def __init__(self, connection: sqlite3.Connection, left: int) -> None:
        self._connection, self.left = connection, left

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._count()
        return self._connection.execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._count()
        return self._connection.executemany(*arguments)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise sqlite3.OperationalError("disk I/O error")


def test_a_turn_that_breaks_at_any_statement_leaves_what_was_before(cloud: Cloud, tmp_path: Path) -> None:
    """And the next one does all of it."""
    token = cloud.give()
    cloud.sequencer.turns()
    happen(cloud, "pause", [token])
    tables, connection = cloud.store._tables, cloud.store._connection
    for statements in range(1000):
        failing = Failing(connection, statements)
        before = connection.serialize()
        tables.ledger._db = tables.consents._db = failing
        try:
            cloud.sequencer.turns()
            break
        except UnavailableError:
            assert connection.serialize() == before
        finally:
            tables.ledger._db = tables.consents._db = connection
    assert statements > 8
    assert [leaf["event"] for leaf in leaves_of(cloud)[1:]] == ["give", "pause"]


def test_two_sequencers_take_turns_by_the_lease(cloud: Cloud) -> None:
    """Whoever comes back after a pause goes on from what the other has made of the log."""
    source = random.Random(8)
    one, other = (cloud.make_sequencer(name, source) for name in (b"one-----", b"other---"))
    entries = [cloud.give()]
    assert one.turns() == 2
    logged = {one: 0, other: 0}
    for number in range(40):
        entries.append(happen(cloud, "pause" if number % 2 == 0 else "resume", entries))
        cloud.clock.ms += source.choice([0, 0, LEASE_MS])
        first, second = source.sample([one, other], 2)
        logged[first] += first.turns()
        logged[second] += second.turns()
    cloud.clock.ms += LEASE_MS
    one.turns()
    assert [leaf["seq"] for leaf in leaves_of(cloud)[1:]] == list(range(len(entries)))
    assert min(logged.values()) > 5


def test_a_lease_keeps_the_other_out(cloud: Cloud) -> None:
    one, other = (cloud.make_sequencer(name, random.Random(9)) for name in (b"one-----", b"other---"))
    cloud.give()
    one.turns()
    happen(cloud, "pause", [kit.token()])
    happened_ms = cloud.clock.ms - one_lease_began(cloud)
    cloud.clock.ms += LEASE_MS - happened_ms - 1
    assert other.turns() == 0
    cloud.clock.ms += 1
    assert other.turns() == 1


def one_lease_began(cloud: Cloud) -> int:
    with cloud.store.transaction() as t:
        (log,) = t.ledger.logs()
    return log.until_ms - LEASE_MS


@pytest.mark.parametrize("phase_ms", range(0, 1000, 100))
def test_whoever_led_the_log_may_die_and_a_leaf_has_its_place_within_two_seconds(cloud: Cloud, phase_ms: int) -> None:
    """Whenever in its second the other one looks, with a clock that is 100 ms behind."""
    cloud.lagging = True
    one, other = (cloud.make_sequencer(name, random.Random(9)) for name in (b"one-----", b"other---"))
    cloud.give()
    one.turns()
    written_ms = one_lease_began(cloud)
    happen(cloud, "pause", [kit.token()])
    cloud.clock.ms = written_ms - SKEW_MS + phase_ms
    while other.turns() == 0:
        cloud.clock.ms += int(SEQUENCE_S * 1000)
    assert cloud.clock.ms + SKEW_MS - written_ms <= 2000


def test_a_turn_is_bounded(cloud: Cloud) -> None:
    """However much waits: nobody else's transaction waits for all of it."""
    with cloud.store.transaction() as t:
        for number in range(LEAVES_AT_ONCE + 10):
            t.ledger.queue(kit.TENANT, f"rec_{number}", number.to_bytes(16, "big"), b"{}", 5)
    asked: list[int] = []

    def count(_t: object, _log: object, leaves: list[StoredLeaf]) -> set[tuple[bytes, int]]:
        asked.append(len(leaves))
        return set()

    with patch.object(cloud.sequencer, "_append", count):
        cloud.sequencer.turns()
    assert asked == [LEAVES_AT_ONCE]


def test_a_log_that_nothing_may_be_added_to_keeps_no_other_up(cloud: Cloud) -> None:
    """The store was exchanged for another one, say: only this tenant waits for whoever finds out."""
    first = format_id("ten_", bytes(10))
    cloud.log_hashes.append(first, 0, [bytes(32)])
    with cloud.store.transaction() as t:
        t.ledger.set_log(StoredLog(first, f"carnet.example/log/{first}", 1, bytes(32), "", b"sequence", 0))
        t.ledger.add_nodes(first, [Node(0, 0, b"x" * 32)])
        t.ledger.queue(first, "rec_", b"s" * 16, b"{}", 5)
    cloud.give()
    failures: list[Error] = []
    cloud.sequencer.turns(failures.append)
    assert [failure.reason for failure in failures] == ["log_differs"]
    assert blocked(cloud) is None


def test_a_log_is_signed_by_one_key(cloud: Cloud) -> None:
    """Another key is said at the start, before it signs anything."""
    cloud.give()
    cloud.sequencer.turns()
    cloud.sequencer.start()
    key = SigningKey.from_seed(b"x" * 32)
    name, hashes = "carnet.example/log", cloud.log_hashes
    other = Sequencer(cloud.store, key, name, b"o" * 8, hashes, bytes, cloud.clock.now_ms, cloud.changed.append)
    with pytest.raises(ConfigError, match=r"log\.key is not the key of carnet\.example/log/ten_"):
        other.start()


def test_what_waits_is_found_through_an_index(cloud: Cloud) -> None:
    """A log of millions of leaves is not read for the few that are new."""
    asked: list[str] = []
    cloud.give()
    cloud.store._connection.set_trace_callback(asked.append)
    cloud.sequencer.turns()
    cloud.store._connection.set_trace_callback(None)
    queries = [sql for sql in asked if sql.startswith("select") and "log_" in sql]
    plan = [row[3] for query in queries for row in cloud.store._connection.execute(f"explain query plan {query}")]
    assert len(plan) > 3
    assert [step for step in plan if step.startswith("SCAN") and "log_leaf_waiting" not in step] == []
