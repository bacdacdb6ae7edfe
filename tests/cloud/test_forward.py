"""Events go in groups: leased together, sent one after another, settled together; no law is weaker for it.

What ends in the middle of one: test_forward_endings.py.
"""

# ruff: noqa: F811 - fixtures of another file

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from carnet.errors import FormatError, UnavailableError
from carnet_cloud import forward
from carnet_cloud.event import unpack
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.lease import BEGIN_MS
from carnet_cloud.recipients import JsonLines, Outcome
from carnet_cloud.recipients.base import GROUP_MAX
from carnet_cloud.rendering import read
from tests import consentkit as kit
from tests.cloud.forwardkit import (  # noqa: F401 - fixtures, too
    OTHER,
    Listener,
    cloud,
    forwarder,
    later,
    listener,
    make_forwarder,
    outcomes,
    queued,
    queued_for_two,
    unit,
)
from tests.cloud.kit import Cloud, Unit

# how much goes together


def test_a_group_has_a_bounded_number_of_events(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    queued(cloud, unit, GROUP_MAX + 3)
    assert forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == GROUP_MAX
    assert forwarder.step(kit.RECIPIENT)
    assert not forwarder.step(kit.RECIPIENT)
    assert len(set(listener.got)) == len(listener.got) == GROUP_MAX + 3
    assert outcomes(cloud) == {"confirmed": GROUP_MAX + 3}


def test_a_group_has_a_bounded_number_of_bytes(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two fit, a third does not; what is larger than all goes alone."""
    queued(cloud, unit, 5)
    with cloud.store.transaction() as t:
        size_bytes = max(len(each.payload) for each in t.outbox.due(kit.RECIPIENT, b"sender01", cloud.clock.ms, 5))
    sent = []
    for bound in (2 * size_bytes, 1, 100 * size_bytes):
        monkeypatch.setattr(forward, "GROUP_BYTES_MAX", bound)
        assert forwarder.step(kit.RECIPIENT)
        sent.append(len(listener.got))
    assert sent == [2, 3, 5]


def test_a_group_costs_one_transaction_to_lease_and_one_to_settle(
    cloud: Cloud, unit: Unit, forwarder: Forwarder
) -> None:
    """And one to read their schema."""
    queued(cloud, unit, 20)
    begun: list[str] = []
    cloud.store._connection.set_trace_callback(lambda sql: begun.append(sql) if sql.startswith("begin") else None)
    assert forwarder.step(kit.RECIPIENT)
    cloud.store._connection.set_trace_callback(None)
    assert len(begun) == 3


def test_given_is_asked_once_for_each_record_of_a_group(cloud: Cloud, unit: Unit, listener: Listener) -> None:
    """In the transaction that leases; what was written a moment ago needs no second look."""
    queued_for_two(cloud, unit, 5)
    asked: list[str] = []
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)

    def given(_t: object, record: str, _now_ms: int) -> bool:
        asked.append(record)
        assert cloud.store._is_open
        return record == OTHER

    ends = {kit.RECIPIENT: listener}
    assert Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, given, clocks, b"s").step(kit.RECIPIENT)
    assert sorted(asked) == sorted([kit.RECORD_ID, OTHER])
    assert listener.records == [OTHER] * 5


# a recipient that takes its time


def test_what_a_slow_recipient_leaves_no_time_for_is_put_back_as_it_was(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """It was not tried, so it neither waits nor counts as tried; the next group is no larger than what was done."""
    queued(cloud, unit, 10)
    listener.during = lambda _: later(cloud, BEGIN_MS // 2)
    assert forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == 2
    with cloud.store.transaction() as t:
        due = t.outbox.due(kit.RECIPIENT, b"sender01", cloud.clock.ms, 100)
        assert t.outbox.depth() == {"queued": 8}
    assert [each.attempts for each in due] == [0] * 8
    assert cloud.counters()["send_unsent"] == 8
    for _ in range(4):
        assert forwarder.step(kit.RECIPIENT)
    assert not forwarder.step(kit.RECIPIENT)
    assert len(set(listener.got)) == len(listener.got) == 10
    assert cloud.counters()["send_unsent"] < 8 + 4


def test_however_slow_everything_is_one_event_of_each_group_is_sent(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading took longer than the lease is young: GIVEN is read again, and it goes."""
    queued(cloud, unit, 3)

    def slow_read(*arguments: object) -> object:
        cloud.clock.ms += BEGIN_MS
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("carnet_cloud.sending.read", slow_read)
    for _ in range(3):
        assert forwarder.step(kit.RECIPIENT)
    assert outcomes(cloud) == {"confirmed": 3}


# one bad event


def test_an_event_that_cannot_be_read_holds_no_other_of_its_group_up(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued(cloud, unit, 5)
    seen: list[bytes] = []

    def broken_body(plain: bytes) -> object:
        payload = unpack(plain)
        seen.append(payload.event_id)
        bad = len(seen) == 2
        return replace(payload, pieces=tuple(replace(p, body=b"\xff" * 9) for p in payload.pieces)) if bad else payload

    monkeypatch.setattr("carnet_cloud.sending.unpack", broken_body)
    with pytest.raises(FormatError):
        forwarder.step(kit.RECIPIENT)
    assert listener.got == [each for each in seen if each != seen[1]]
    assert cloud.counters()["send_failed"] == 1
    assert outcomes(cloud) == {"confirmed": 4, "queued": 1}


# crashes


def test_a_crash_in_the_middle_of_a_group_brings_it_again_with_the_same_ids(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """What was answered and not yet written down, too: never a second id, and nothing is missing."""
    queued(cloud, unit, 5)

    def die(n: int) -> None:
        if n == 3:
            raise KeyboardInterrupt

    listener.during = die
    with pytest.raises(KeyboardInterrupt):
        forwarder.step(kit.RECIPIENT)
    assert not make_forwarder(cloud, listener, b"sender02").step(kit.RECIPIENT)
    cloud.clock.ms += 401
    assert make_forwarder(cloud, listener, b"sender02").step(kit.RECIPIENT)
    assert len(listener.got) == 2 + 5
    assert len(set(listener.got)) == 5
    assert outcomes(cloud) == {"confirmed": 5}


def test_a_crash_between_the_files_fsync_and_the_settling_writes_no_line_twice(
    cloud: Cloud, unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group comes again, and its lines are known."""
    queued(cloud, unit, 5)
    path = tmp_path / "events.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(Forwarder, "_settle", _die)
        with pytest.raises(KeyboardInterrupt):
            make_forwarder(cloud, JsonLines(path)).step(kit.RECIPIENT)
    cloud.clock.ms += 401
    assert make_forwarder(cloud, JsonLines(path), b"sender02").step(kit.RECIPIENT)
    lines = path.read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == 5
    assert outcomes(cloud) == {"confirmed": 5}


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_could_not_be_made_durable_comes_again(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Written is not confirmed."""
    queued(cloud, unit, 3)
    listener.outcome, listener.finished = Outcome.WRITTEN, Outcome.RETRY
    assert forwarder.step(kit.RECIPIENT)
    assert outcomes(cloud) == {"queued": 3}
    cloud.clock.ms += 10_000
    listener.finished = Outcome.CONFIRMED
    assert forwarder.step(kit.RECIPIENT)
    assert outcomes(cloud) == {"confirmed": 3}


def test_a_mixed_group_is_settled_event_by_event(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    queued(cloud, unit, 3)
    answers = iter([Outcome.REFUSED, Outcome.RETRY, Outcome.CONFIRMED])
    listener.during = lambda _: setattr(listener, "outcome", next(answers))
    assert forwarder.step(kit.RECIPIENT)
    assert outcomes(cloud) == {"confirmed": 1, "queued": 1, "refused": 1}


# what waits


def test_what_waits_is_counted_from_an_index_however_much_is_done(
    cloud: Cloud, unit: Unit, forwarder: Forwarder
) -> None:
    """Whoever watches asks every few seconds, and events are kept for ever."""
    queued(cloud, unit, 4)
    forwarder.step(kit.RECIPIENT)
    cloud.send(unit.data())
    asked: list[str] = []
    database = cloud.store._connection
    database.set_trace_callback(asked.append)
    with cloud.store.transaction() as t:
        assert t.outbox.depth() == {"queued": 1}
    database.set_trace_callback(None)
    (query,) = [sql for sql in asked if "outbox" in sql]
    plan = [row[3] for row in database.execute(f"explain query plan {query}")]
    assert [step for step in plan if "outbox" in step and "SEARCH outbox USING COVERING INDEX" not in step] == []


# a recipient that is away for days


def try_for(cloud: Cloud, forwarder: Forwarder, days: float) -> list[int]:
    """Let the forwarder try for so long; when it did, in ms since then."""
    start_ms = cloud.clock.ms
    tried = []
    while cloud.clock.ms < start_ms + int(days * kit.DAY_MS):
        if forwarder.step(kit.RECIPIENT):
            tried.append(cloud.clock.ms - start_ms)
        cloud.clock.ms += 500
        with cloud.store.transaction() as t:
            if not t.outbox.depth():
                break
            # the next half second of the virtual clock in which something is due
            (next_ms,) = cloud.ask("select min(next_ms) from outbox")
        cloud.clock.ms = max(cloud.clock.ms, next_ms)
    return tried


def test_what_nobody_answered_is_tried_for_three_days_and_then_told_as_unknown(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """The whole body may have arrived before the time-out: only an answer of the recipient is a refusal."""
    queued(cloud, unit, 1)
    listener.outcome = Outcome.RETRY
    tried = try_for(cloud, forwarder, days=5)
    waits = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert waits[:4] == [500, 1000, 2000, 4000]
    assert max(waits) == 1_800_000
    assert 3 * kit.DAY_MS < tried[-1] <= 3 * kit.DAY_MS + 1_800_000
    assert len(set(listener.got)) == 1
    assert outcomes(cloud) == {"unknown": 1}
    with cloud.store.transaction() as t:
        assert t.outbox.last_event(kit.RECORD_ID) == listener.got[0]
        assert t.outbox.in_flight(kit.RECORD_ID, cloud.clock.ms) == 0
    assert cloud.ask("select count(*) from outbox where payload is not null") == (0,)


def test_a_recipient_that_comes_back_within_three_days_has_everything(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Under the ids that it may have seen before."""
    queued(cloud, unit, 2)
    listener.outcome = Outcome.RETRY
    try_for(cloud, forwarder, days=2.9)
    assert outcomes(cloud) == {"queued": 2}
    listener.outcome = Outcome.CONFIRMED
    try_for(cloud, forwarder, days=0.1)
    assert len(set(listener.got)) == 2
    assert outcomes(cloud) == {"confirmed": 2}


def test_a_lease_whose_commit_failed_is_not_held(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its age would be told until the end of the program."""
    token = queued(cloud, unit, 2)

    def full() -> None:
        raise UnavailableError("store_unavailable", "full")

    with monkeypatch.context() as patch:
        patch.setattr(cloud.store, "_commit", full)
        with pytest.raises(UnavailableError):
            forwarder.step(kit.RECIPIENT)
    cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms), kit.RECORD_ID)
    assert not forwarder.step(kit.RECIPIENT)
    assert cloud.leases.taken_ms() == []
    assert listener.got == []
