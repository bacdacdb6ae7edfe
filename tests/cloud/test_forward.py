"""Events go in groups: leased together, sent one after another, settled together; no law is weaker for it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from carnet.errors import FormatError, UnavailableError
from carnet.ids import format_id
from carnet_cloud import forward
from carnet_cloud.consents import Ended
from carnet_cloud.event import unpack
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.journal import Narrowing
from carnet_cloud.lease import BEGIN_MS, LEASE_MS, Lease, LeaseOver
from carnet_cloud.recipients import Event, JsonLines, Outcome, Recipient
from carnet_cloud.recipients.base import GROUP_MAX
from carnet_cloud.rendering import read
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit, readings

OTHER = format_id("rec_", b"the other!")


class Listener:
    """A recipient in memory. ``during(n)`` runs while the n-th send is in the air, from 1."""

    def __init__(self) -> None:
        self.sends = 0
        self.got: list[bytes] = []
        self.records: list[str] = []
        self.during: Callable[[int], object] = lambda _: None
        self.outcome = Outcome.CONFIRMED
        self.finished = Outcome.CONFIRMED

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        self.sends += 1
        self.during(self.sends)
        try:
            lease.guard()
        except LeaseOver:
            return Outcome.CUT
        self.got.append(event.event_id)
        self.records.append(lease.record)
        return self.outcome

    def finish(self) -> Outcome:
        return self.finished

    def close(self) -> None:
        return


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    unit = Unit()
    cloud.enrol(unit)
    return unit


@pytest.fixture
def listener() -> Listener:
    return Listener()


def make_forwarder(cloud: Cloud, recipient: Recipient, owner: bytes = b"sender01") -> Forwarder:
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    ends = {kit.RECIPIENT: recipient}
    return Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, owner)


@pytest.fixture
def forwarder(cloud: Cloud, listener: Listener) -> Forwarder:
    return make_forwarder(cloud, listener)


def queued(cloud: Cloud, unit: Unit, count: int) -> str:
    """A given record with this many events in the outbox; the record's token."""
    token = cloud.give()
    cloud.send(unit.schema(), *[unit.data() for _ in range(count)])
    return token


def queued_for_two(cloud: Cloud, unit: Unit, count: int) -> tuple[str, str]:
    """Two records of one recipient, this many events of each; the records' tokens."""
    tokens = cloud.give(), cloud.give(id=OTHER)
    cloud.send(unit.schema(), *[unit.data(records=(kit.RECORD_ID, OTHER)) for _ in range(count)])
    return tokens


def outcomes(cloud: Cloud, record: str = kit.RECORD_ID) -> dict[str, int]:
    """What the owner is told of a record: how many events by outcome."""
    with cloud.store.transaction() as t:
        told = [delivery.outcome for delivery in t.outbox.deliveries(record)]
    return {outcome: told.count(outcome) for outcome in sorted(set(told))}


def withdraw(cloud: Cloud, token: str, record: str = kit.RECORD_ID) -> Ended:
    ended = cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms, record=record), record)
    assert isinstance(ended, Ended)
    return ended


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
    listener.during = lambda _: _later(cloud, BEGIN_MS // 2)
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


def _later(cloud: Cloud, ms: int) -> None:
    cloud.clock.ms += ms


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


# endings in the middle


def test_a_withdrawal_in_the_middle_of_a_group_tells_of_every_event_what_became_of_it(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Answered: confirmed. In the air: unknown. Not begun: destroyed, for nobody has seen it. And nothing follows."""
    token = queued(cloud, unit, 6)
    ended: list[Ended] = []
    listener.during = lambda n: ended.append(withdraw(cloud, token)) if n == 3 else None
    assert forwarder.step(kit.RECIPIENT)
    assert (listener.sends, len(listener.got)) == (3, 2)
    assert ended[0].silent_after_ms <= 500
    assert outcomes(cloud) == {"confirmed": 2, "destroyed": 3, "unknown": 1}
    assert not forwarder.step(kit.RECIPIENT)
    assert listener.sends == 3


def test_a_withdrawal_counts_what_the_sender_has_said_by_the_time_it_returns(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """The sender is another thread, and is done before the drain is."""
    token = queued(cloud, unit, 6)
    in_the_air, go_on = threading.Event(), threading.Event()

    def wait(n: int) -> None:
        if n == 3:
            in_the_air.set()
            go_on.wait(30)

    listener.during = wait
    sender = threading.Thread(target=forwarder.step, args=(kit.RECIPIENT,), daemon=True)

    def pause() -> None:
        cloud.clock.pause()
        go_on.set()
        sender.join(30)

    cloud.consents._waits = replace(cloud.consents._waits, pause=pause)
    sender.start()
    assert in_the_air.wait(30)
    ended = withdraw(cloud, token)
    assert (ended.destroyed, ended.unknown) == (3, 1)
    assert outcomes(cloud) == {"confirmed": 2, "destroyed": 3, "unknown": 1}


def test_the_end_of_one_record_leaves_the_others_of_the_group(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """They are put back and go in the next group; of the ended one nothing goes after its withdrawal has returned."""
    token, _ = queued_for_two(cloud, unit, 4)
    returned_at: list[int] = []

    def end(n: int) -> None:
        if n == 2:
            withdraw(cloud, token)
            returned_at.append(len(listener.got))

    listener.during = end
    while forwarder.step(kit.RECIPIENT):
        pass
    assert listener.records[returned_at[0] :].count(kit.RECORD_ID) == 0
    assert listener.records.count(OTHER) == 4
    assert outcomes(cloud, OTHER) == {"confirmed": 4}
    told = outcomes(cloud)
    assert told.get("confirmed", 0) == listener.records.count(kit.RECORD_ID)
    assert sum(told.values()) == 4


def test_a_withdrawal_between_the_lease_and_the_first_write_sends_nothing(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All leases of the group are found and cut, and the owner is told that nobody saw anything."""
    token = queued(cloud, unit, 3)
    ended: list[Ended] = []

    def withdrawn_meanwhile(*arguments: object) -> object:
        ended.append(withdraw(cloud, token))
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("carnet_cloud.sending.read", withdrawn_meanwhile)
    assert forwarder.step(kit.RECIPIENT)
    assert listener.sends == 0
    assert outcomes(cloud) == {"destroyed": 3}


def test_what_was_tried_before_and_not_begun_again_is_unknown(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Only of what was never tried anybody can say that it was not seen."""
    token = queued(cloud, unit, 3)
    listener.outcome = Outcome.RETRY
    forwarder.step(kit.RECIPIENT)
    cloud.clock.ms += 10_000
    listener.during = lambda n: withdraw(cloud, token) if n == 4 else None
    forwarder.step(kit.RECIPIENT)
    assert listener.sends == 4
    assert outcomes(cloud) == {"unknown": 3}


def test_a_recipient_that_hangs_in_the_middle_of_a_group_delays_only_itself(tmp_path: Path) -> None:
    """Its own answered events are told 15 s later; the other recipient's are sent and told meanwhile."""
    names = (kit.RECIPIENT, format_id("rcp_", b"other shop"))
    cloud, unit = Cloud(tmp_path, recipients=names), Unit()
    cloud.enrol(unit)
    cloud.give()
    other = kit.offer_bytes(id=format_id("off_", b"other shop"), recipient=names[1])
    cloud.offers.publish(other)
    cloud.consents.give(kit.token(other, id=OTHER), kit.VEHICLE)
    cloud.send(unit.schema(), *[unit.data(records=(kit.RECORD_ID, OTHER)) for _ in range(4)])
    hangs, answers = Listener(), Listener()
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    ends = dict(zip(names, (hangs, answers), strict=True))
    forwarder = Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"sender01")
    during: list[dict[str, int]] = []

    def hang(n: int) -> None:
        if n == 3:
            assert forwarder.step(names[1])
            _later(cloud, 15_000)
            during.extend((outcomes(cloud), outcomes(cloud, OTHER)))

    hangs.during = hang
    forwarder.step(kit.RECIPIENT)
    assert during == [{"queued": 4}, {"confirmed": 4}]
    assert outcomes(cloud)["confirmed"] == 3


def test_a_withdrawal_waits_for_no_other_record_of_a_group(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Only what is being written under the record may still write: an event of it that is not begun never will be."""
    queued_for_two(cloud, unit, 2)
    flying: list[int] = []

    def look(n: int) -> None:
        if n == 1:
            ended = kit.RECORD_ID if listener_record(cloud) == OTHER else OTHER
            flying.append(cloud.leases.flying(ended))

    listener.during = look
    forwarder.step(kit.RECIPIENT)
    assert flying == [0]


def listener_record(cloud: Cloud) -> str:
    """The record whose event is being written."""
    (record,) = [record for record in (kit.RECORD_ID, OTHER) if cloud.leases.flying(record)]
    return record


def test_a_record_that_expires_in_the_middle_of_a_group_is_over_to_the_millisecond(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Its leases end with it, however young they are; there is no event that would cut them."""
    cloud.give(expires_ms=cloud.clock.ms + 2)
    cloud.send(unit.schema(), *[unit.data(readings(boot_ms=unit.boot_ms - 1000)) for _ in range(3)])
    listener.during = lambda _: _later(cloud, 1)
    forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == 1
    cloud.clock.ms += 10_000
    assert not forwarder.step(kit.RECIPIENT)
    assert outcomes(cloud) == {"confirmed": 1, "unknown": 2}


class SlowReader(Listener):
    """Takes a piece every 20 ms of the monotonic clock, for 4 s; ``after_50`` happens once it has 50 of them."""

    def __init__(self, after_50: Callable[[], object]) -> None:
        super().__init__()
        self.ms = 0.0
        self.after_50 = after_50

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        try:
            for n in range(200):
                lease.guard()
                self.sends = n
                self.ms += 20
                if n == 50:
                    self.after_50()
        except LeaseOver:
            return Outcome.CUT
        return Outcome.CONFIRMED


def falls_behind(cloud: Cloud) -> None:
    """A car or an owner's tool has seen a higher generation than this store has: silent until confirmed."""
    with cloud.store.transaction() as t:
        t.consents.set_silent(kit.RECORD_ID, True)


def is_narrowed_elsewhere(cloud: Cloud) -> None:
    """Another process has written the line of a withdrawal, and its transaction is still to come."""
    cloud.journal.append(Narrowing(kit.RECORD_ID, "withdraw", "owner", cloud.clock.ms))


def expires(cloud: Cloud) -> None:
    """The server's clock was behind, and is set."""
    cloud.clock.ms += 31 * kit.DAY_MS


@pytest.mark.parametrize("ending", [falls_behind, is_narrowed_elsewhere, expires])
def test_a_slow_send_is_cut_within_a_lease_by_an_ending_that_cuts_no_lease_here(
    cloud: Cloud, unit: Unit, ending: Callable[[Cloud], object]
) -> None:
    """A renewal reads GIVEN again, and with nothing ended it goes on for ten leases."""
    queued(cloud, unit, 1)
    assert send_slowly(cloud, lambda: None) == 199
    cloud.send(unit.data())
    assert 50 <= send_slowly(cloud, partial(ending, cloud)) <= 50 + LEASE_MS // 20
    assert outcomes(cloud)["confirmed"] == 1


def send_slowly(cloud: Cloud, after_50: Callable[[], object]) -> int:
    """Forward one event to a slow reader; how many pieces it took behind the first."""
    slow = SlowReader(after_50)
    clocks = Clocks(cloud.clock.now_ms, lambda: slow.ms, lambda: 0.0)
    ends = {kit.RECIPIENT: slow}
    Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"s").step(kit.RECIPIENT)
    return slow.sends


def test_no_lease_outlives_its_group(cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener) -> None:
    """Whether it was sent, cut, put back or broke."""
    queued(cloud, unit, 5)

    def fail(n: int) -> None:
        cloud.clock.ms += BEGIN_MS // 2
        if n == 2:
            raise AttributeError

    listener.during = fail
    with pytest.raises(AttributeError):
        forwarder.step(kit.RECIPIENT)
    assert cloud.leases.cut(kit.RECORD_ID) == 0
    assert not cloud.leases.flying(kit.RECORD_ID)


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
    """``/healthz`` is asked every few seconds, and events are kept for ever."""
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
