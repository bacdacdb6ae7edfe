"""One conformance suite for every recipient: what an adapter must do, whoever listens at the other end.

What one kind alone does has a file of its own, test_<kind>_recipient.py.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from carnet_cloud.forward import Forwarder
from carnet_cloud.lease import LEASE_MS, WRITE_BYTES_MAX, Leases
from carnet_cloud.recipients import JsonLines, Mqtt, Outcome, Recipient, Webhook
from carnet_cloud.recipients.kafka import Cluster, Kafka
from tests import consentkit as kit
from tests.cloud.kafkakit import TOPIC, brokers, kafka_end
from tests.cloud.recipientkit import (
    LIMIT_S,
    NOW_S,
    SECRET,
    End,
    Looks,
    Way,
    deliver,
    event,
    http_end,
    lease,
    lost_lease,
    mqtt_end,
)

PATIENCE_S = 0.3
KAFKA_PATIENCE_S = 1.5


@dataclass
class Case:
    """An adapter, how to see what its recipient has, and the adapter again as after a restart."""

    adapter: Recipient
    received: Callable[[], list[bytes]]
    again: Callable[[], Recipient]


@dataclass
class NetworkCase(Case):
    """``end`` is the recipient's own server; ``impatient`` waits for an answer no longer than PATIENCE_S."""

    end: End
    impatient: Callable[[], Recipient]
    persistent: bool = False
    """Its library tries again by itself while the lease is good."""


Makers = dict[str, tuple[Callable[[], AbstractContextManager[End]], Callable[[End, float], Recipient]]]
NETWORK: Makers = {
    "webhook": (http_end, lambda end, timeout_s: Webhook(end.url, SECRET, timeout_s=timeout_s)),
    "mqtt": (mqtt_end, lambda end, timeout_s: Mqtt(end.broker, "their/events", timeout_s=timeout_s)),
    "kafka": (kafka_end, lambda end, timeout_s: Kafka(Cluster(brokers(end), {}), TOPIC, timeout_s=timeout_s)),
}


@contextlib.contextmanager
def network(kind: str) -> Iterator[NetworkCase]:
    server, make = NETWORK[kind]
    with server() as end, contextlib.ExitStack() as made:

        def adapter(timeout_s: float) -> Recipient:
            found = make(end, timeout_s)
            made.callback(found.close)
            return found

        patience_s, persistent = (KAFKA_PATIENCE_S, True) if kind == "kafka" else (PATIENCE_S, False)
        found = adapter(LIMIT_S)
        yield NetworkCase(found, end.bodies, lambda: adapter(LIMIT_S), end, lambda: adapter(patience_s), persistent)


@pytest.fixture(params=["file", *NETWORK])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param == "file":
        path = tmp_path / "events.jsonl"
        with contextlib.ExitStack() as made:
            yield Case(
                made.enter_context(contextlib.closing(JsonLines(path))),
                lambda: path.read_bytes().splitlines(),
                lambda: made.enter_context(contextlib.closing(JsonLines(path))),
            )
    else:
        with network(request.param) as found:
            yield found


@pytest.fixture(params=NETWORK)
def far(request: pytest.FixtureRequest) -> Iterator[NetworkCase]:
    """Those that are reached over a network."""
    with network(request.param) as found:
        yield found


# every recipient


def test_a_confirmed_event_is_there_as_it_was_given(case: Case) -> None:
    """Byte for byte, also when it is larger than one write."""
    for each in (event(1), event(2, 100_000)):
        assert deliver(case.adapter, each) is Outcome.CONFIRMED
    assert case.received() == [event(1).body, event(2, 100_000).body]


def test_a_lease_that_was_cut_writes_nothing(case: Case) -> None:
    """Withdrawn means silent: not one byte of the event."""
    assert case.adapter.send(event(1), lost_lease(), NOW_S) is Outcome.CUT
    assert case.received() == []


def test_a_lease_that_ends_between_two_writes_stops_there(case: Case) -> None:
    """The recipient has no whole event of it."""
    assert case.adapter.send(event(1, 60_000), lease(step_ms=LEASE_MS), NOW_S) is Outcome.CUT
    assert case.received() == []


def test_it_goes_on_after_a_cut(case: Case) -> None:
    """One withdrawn record does not silence the others of the recipient."""
    case.adapter.send(event(1), lost_lease(), NOW_S)
    assert deliver(case.adapter, event(2)) is Outcome.CONFIRMED
    assert case.received() == [event(2).body]


def test_the_end_of_one_record_leaves_the_others_of_a_group(case: Case) -> None:
    """What was written before stays, what comes after goes on, and of what was cut there is nothing."""
    leases = [lease(), lease(step_ms=LEASE_MS), lost_lease(), lease()]
    outcomes = [case.adapter.send(event(n, 60_000), each, NOW_S) for n, each in enumerate(leases)]
    assert outcomes[1:3] == [Outcome.CUT, Outcome.CUT]
    done = {Outcome.CONFIRMED: Outcome.CONFIRMED, Outcome.WRITTEN: case.adapter.finish()}
    assert [done[outcomes[n]] for n in (0, 3)] == [Outcome.CONFIRMED, Outcome.CONFIRMED]
    assert case.received() == [event(0, 60_000).body, event(3, 60_000).body]


# the whole way: store, gate, forwarder


def test_it_gets_exactly_the_events_that_a_file_gets(case: Case, tmp_path: Path) -> None:
    """Byte for byte and id for id."""
    path = tmp_path / "beside" / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as file:
        for folder, adapter in (("one", case.adapter), ("two", file)):
            assert Way(tmp_path / folder, adapter, 5).forwarder.step(kit.RECIPIENT)
    assert case.received() == path.read_bytes().splitlines()
    assert len(set(case.received())) == 5


def test_after_a_crash_before_the_settling_the_same_ids_come_again(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a new process with a new connection; nothing has a second id, and all of it is confirmed in the end."""
    way = Way(tmp_path / "way", case.adapter, 5)
    with monkeypatch.context() as patch:
        patch.setattr(Forwarder, "_settle", _die)
        with pytest.raises(KeyboardInterrupt):
            way.forwarder.step(kit.RECIPIENT)
    assert way.outcomes() == {"queued": 5}
    way.cloud.clock.ms += LEASE_MS + 1
    assert way.forwarder_of(case.again(), b"sender02").step(kit.RECIPIENT)
    assert len(case.received()) in (5, 10)
    assert len(set(case.received())) == 5
    assert way.outcomes() == {"confirmed": 5}


def _die(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", range(6))
def test_withdrawn_at_any_moment_of_a_send_nothing_more_comes(case: Case, tmp_path: Path, moment: int) -> None:
    """When the withdrawal has returned, the recipient has what it has; the owner is told of every event."""
    way = Way(tmp_path / "way", case.adapter, 4)
    begin, begun, had = Leases.begin, [0], list[int]()

    def looked(under: object) -> None:
        begun[0] += 1
        if begun[0] == moment + 1:
            way.withdraw()
            had.append(len(case.received()))

    def watched(leases: Leases, under: Looks) -> None:
        begin(leases, under)
        guard = under.guard

        def look() -> None:
            looked(under)
            guard()

        under.guard = look  # type: ignore[method-assign]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Leases, "begin", watched)
        way.forwarder.step(kit.RECIPIENT)
    if not had:
        way.withdraw()
        had.append(len(case.received()))
    assert not way.forwarder.step(kit.RECIPIENT)
    told = way.outcomes()
    assert len(case.received()) == had[0]
    assert sum(told.values()) == 4
    assert told.get("confirmed", 0) <= had[0] <= told.get("confirmed", 0) + told.get("unknown", 0)


# whoever is reached over a network


@pytest.mark.parametrize("word", ["busy", "hang", "broken", "close"])
def test_what_was_not_answered_with_yes_or_no_comes_again_as_it_was(far: NetworkCase, word: str) -> None:
    """An answer that is none, none at all, or a plea for later: the recipient may have it; its id stays."""
    far.end.answers = [word]
    hasty = far.impatient()
    first = deliver(hasty, event(1))
    assert first is Outcome.RETRY or (far.persistent and first is Outcome.CONFIRMED)
    assert deliver(hasty, event(1)) is Outcome.CONFIRMED
    assert set(far.received()) == {event(1).body}
    assert len(far.received()) == 2 or far.persistent


def test_what_is_refused_is_refused_for_good(far: NetworkCase) -> None:
    """And holds up nothing."""
    far.end.answers = ["refuse"]
    assert deliver(far.adapter, event(1)) is Outcome.REFUSED
    assert deliver(far.adapter, event(2)) is Outcome.CONFIRMED


@pytest.mark.parametrize("word", ["hang", "drip"])
def test_a_cut_ends_the_wait_for_an_answer(far: NetworkCase, word: str) -> None:
    """Whoever says nothing, or a byte now and then, holds no withdrawal up."""
    far.end.answers = [word]
    leases, under, outcomes = Leases(), lease(), list[Outcome]()
    leases.add([under])
    sender = threading.Thread(target=lambda: outcomes.append(far.adapter.send(event(1), under, NOW_S)), daemon=True)
    sender.start()
    assert far.end.asked.wait(LIMIT_S)
    assert leases.cut("rec") == 1
    sender.join(LIMIT_S / 2)
    assert outcomes == [Outcome.CUT]
    assert deliver(far.adapter, event(2)) is Outcome.CONFIRMED


def test_cut_before_any_write_the_recipient_has_the_whole_event_or_nothing(far: NetworkCase) -> None:
    """Every look at the lease once, in an event of several writes; after it the next event goes."""
    outcomes = []
    for at in range(30):
        had, under = len(far.received()), Looks(at)
        outcomes.append(far.adapter.send(event(at, 3 * WRITE_BYTES_MAX), under, NOW_S))
        if under.looks <= at:
            break
        assert outcomes[-1] is Outcome.CUT
        assert far.received()[had:] in ([], [event(at, 3 * WRITE_BYTES_MAX).body])
        assert deliver(far.adapter, event(100 + at)) is Outcome.CONFIRMED
    assert outcomes[-1] is Outcome.CONFIRMED
    assert len(outcomes) > (2 if far.persistent else 4)


def test_one_that_hung_up_between_two_events_is_called_again(far: NetworkCase) -> None:
    """At once or with the next try; nobody waits for an answer that cannot come."""
    assert deliver(far.adapter, event(1)) is Outcome.CONFIRMED
    far.end.answers = ["close"]
    outcomes = [deliver(far.adapter, event(2)) for _ in range(2)]
    assert outcomes in ([Outcome.RETRY, Outcome.CONFIRMED], [Outcome.CONFIRMED] * 2)
    assert far.persistent or outcomes[0] is Outcome.RETRY
