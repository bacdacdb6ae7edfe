"""One conformance suite for every recipient: what an adapter must do, whoever listens at the other end."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from standardwebhooks import Webhook as StockWebhook

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.lease import LEASE_MS, WRITE_BYTES_MAX, Leases
from carnet_cloud.recipients import JsonLines, Mqtt, Outcome, Recipient, Webhook
from carnet_cloud.recipients.base import GROUP_MAX
from carnet_cloud.recipients.cutting import reset
from carnet_cloud.recipients.kafka import Cluster, Kafka
from tests import consentkit as kit
from tests.cloud.kafkakit import TOPIC, brokers, kafka_end
from tests.cloud.kit import Cloud, Unit
from tests.cloud.recipientkit import (
    LIMIT_S,
    NOW_S,
    SECRET,
    End,
    Looks,
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


@pytest.fixture
def endpoint() -> Iterator[End]:
    with http_end() as end:
        yield end


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


class Way:
    """A cloud whose one recipient is the adapter; what happens is the same in every run."""

    def __init__(self, folder: Path, adapter: Recipient, count: int) -> None:
        self.cloud = Cloud(folder)
        self.unit = Unit()
        self.cloud.enrol(self.unit)
        self.token = self.cloud.give()
        self.cloud.send(self.unit.schema(), *(self.unit.data() for _ in range(count)))
        self.forwarder = self.forwarder_of(adapter)

    def forwarder_of(self, adapter: Recipient, owner: bytes = b"sender01") -> Forwarder:
        cloud = self.cloud
        clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
        ends = {kit.RECIPIENT: adapter}
        return Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, owner)

    def withdraw(self) -> None:
        self.cloud.consents.event(kit.event("withdraw", [self.token], self.cloud.clock.ms), kit.RECORD_ID)

    def outcomes(self) -> dict[str, int]:
        with self.cloud.store.transaction() as t:
            told = [delivery.outcome for delivery in t.outbox.deliveries(kit.RECORD_ID)]
        return {outcome: told.count(outcome) for outcome in sorted(set(told))}


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


# a file


def test_the_lines_of_a_group_are_confirmed_by_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And by nothing before it."""
    synced: list[int] = []
    path = tmp_path / "events.jsonl"
    monkeypatch.setattr("os.fsync", lambda _: synced.append(len(path.read_bytes().splitlines())))
    with contextlib.closing(JsonLines(path)) as file:
        assert {file.send(event(n), lease(), NOW_S) for n in range(5)} == {Outcome.WRITTEN}
        assert synced == []
        assert file.finish() is Outcome.CONFIRMED
    assert synced == [5]


def test_a_torn_last_line_is_cut_and_no_whole_line_of_a_group_is_written_twice(tmp_path: Path) -> None:
    """After a crash in the middle of a group the file holds whole events, each once."""
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as first:
        for n in range(GROUP_MAX):
            first.send(event(n), lease(), NOW_S)
    with path.open("ab") as file:
        file.write(b'{"id":"half')
    with contextlib.closing(JsonLines(path)) as second:
        for n in range(GROUP_MAX + 1):
            assert deliver(second, event(n)) is Outcome.CONFIRMED
    assert path.read_bytes().splitlines() == [event(n).body for n in range(GROUP_MAX + 1)]


def test_a_group_that_cannot_be_synced_leaves_nothing_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that were confirmed before stay."""
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as file:
        deliver(file, event(1))
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", _fail)
            assert [file.send(event(n), lease(), NOW_S) for n in (2, 3)] == [Outcome.WRITTEN] * 2
            assert file.finish() is Outcome.RETRY
        assert path.read_bytes().splitlines() == [event(1).body]
        assert [deliver(file, event(n)) for n in (2, 3)] == [Outcome.CONFIRMED] * 2
    assert path.read_bytes().splitlines() == [event(n).body for n in (1, 2, 3)]


def _fail(_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that took only a part is no write."""
    path = tmp_path / "events.jsonl"
    write = os.write
    with contextlib.closing(JsonLines(path)) as file:
        with monkeypatch.context() as patch:
            patch.setattr("os.write", lambda fd, data: write(fd, data[:7]))
            assert deliver(file, event(1)) is Outcome.RETRY
        assert deliver(file, event(2)) is Outcome.CONFIRMED
    assert path.read_bytes().splitlines() == [event(2).body]


def test_a_store_that_fails_in_the_middle_of_a_line_leaves_no_half_of_it(tmp_path: Path) -> None:
    """The lease could not be renewed: nobody may go on, and the next line begins a line."""
    path = tmp_path / "events.jsonl"

    def fail() -> bool:
        raise UnavailableError("store_unavailable", "full")

    with contextlib.closing(JsonLines(path)) as file:
        with pytest.raises(UnavailableError):
            file.send(event(1, 60_000), lease(step_ms=LEASE_MS / 4 + 1, renew=fail), NOW_S)
        assert deliver(file, event(2)) is Outcome.CONFIRMED
    assert path.read_bytes().splitlines() == [event(2).body]


# a file of several receivers


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[JsonLines, JsonLines, Callable[[], list[bytes]]]]:
    """Adapters of two receivers on one file, and what is in it."""
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as one, contextlib.closing(JsonLines(path)) as other:
        yield one, other, lambda: path.read_bytes().splitlines()


def test_a_lease_that_ends_takes_no_line_of_another_receiver_with_it(
    two: tuple[JsonLines, JsonLines, Callable[[], list[bytes]]],
) -> None:
    """What the other one confirmed meanwhile stays. Nobody waits for the file longer than his lease lasts."""
    one, other, lines = two
    outcomes: dict[int, Outcome] = {}

    def ends() -> bool:
        outcomes[2] = deliver(other, event(2), lease(step_ms=LEASE_MS / 4, renew=lambda: False))
        return False

    outcomes[1] = one.send(event(1, 20_000), lease(step_ms=LEASE_MS / 2 + 1, renew=ends), NOW_S)
    assert outcomes[1] is Outcome.CUT
    confirmed = [event(n).body for n, outcome in outcomes.items() if outcome is Outcome.CONFIRMED]
    assert lines() == confirmed
    assert deliver(other, event(3)) is Outcome.CONFIRMED
    assert lines() == [*confirmed, event(3).body]


def test_a_group_that_cannot_be_synced_leaves_the_lines_of_another_receiver(
    two: tuple[JsonLines, JsonLines, Callable[[], list[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, lines = two
    assert [deliver(one, event(1)), deliver(other, event(2))] == [Outcome.CONFIRMED] * 2
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", _fail)
        assert deliver(one, event(3)) is Outcome.RETRY
    assert lines() == [event(1).body, event(2).body]


def test_a_group_is_ended_before_another_receiver_writes(
    two: tuple[JsonLines, JsonLines, Callable[[], list[bytes]]],
) -> None:
    one, other, _ = two
    assert one.send(event(1), lease(), NOW_S) is Outcome.WRITTEN
    assert other.send(event(2), lease(step_ms=LEASE_MS / 4, renew=lambda: False), NOW_S) is Outcome.CUT
    assert one.finish() is Outcome.CONFIRMED
    assert deliver(other, event(2)) is Outcome.CONFIRMED


def test_what_a_killed_receiver_left_is_mended_by_the_next_one_and_not_written_again(tmp_path: Path) -> None:
    """Half a line is not glued to the next one, and a whole one is the event, whoever wrote it."""
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as living:
        deliver(living, event(1))
        with contextlib.closing(JsonLines(path)) as killed:
            killed.send(event(2), lease(), NOW_S)
        with path.open("ab") as file:
            file.write(event(3).body[:9])
        assert [deliver(living, event(n)) for n in (2, 3)] == [Outcome.CONFIRMED] * 2
    assert path.read_bytes().splitlines() == [event(n).body for n in (1, 2, 3)]


def test_no_more_is_read_than_what_others_have_written(
    two: tuple[JsonLines, JsonLines, Callable[[], list[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large the file is: each receiver does it before each of its groups."""
    one, other, lines = two
    pread, sizes = os.pread, list[int]()

    def read(fd: int, size: int, start: int) -> bytes:
        sizes.append(size)
        return pread(fd, size, start)

    monkeypatch.setattr("os.pread", read)
    for each in (event(1, 50_000), event(2), event(3)):
        assert deliver(one, each) is Outcome.CONFIRMED
    assert deliver(other, event(4)) is Outcome.CONFIRMED
    assert deliver(one, event(5)) is Outcome.CONFIRMED
    first, second, third, fourth, _ = [len(line) + 1 for line in lines()]
    assert sizes == [0, 0, 0, first + second + third, fourth]


def test_a_file_that_somebody_has_cut_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with contextlib.closing(JsonLines(path)) as file:
        deliver(file, event(1, 1000))
        path.write_bytes(event(2).body + b'\n{"id":"half')
        assert [deliver(file, event(n)) for n in (2, 3)] == [Outcome.CONFIRMED] * 2
    assert path.read_bytes().splitlines() == [event(2).body, event(3).body]


def test_two_receivers_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    """In two threads, with leases that end in the middle of a line, until each has sent all of its own."""
    path = tmp_path / "events.jsonl"

    def send(first: int) -> None:
        with contextlib.closing(JsonLines(path)) as file:
            for number in range(first, 200, 2):
                each = event(number, 40_000)
                answers = iter([True, False])
                ending = lease(step_ms=LEASE_MS / 2 + 1, renew=lambda answers=answers: next(answers, False))  # type: ignore[misc]
                assert file.send(each, ending, NOW_S) is Outcome.CUT
                assert deliver(file, each) is Outcome.CONFIRMED

    threads = [threading.Thread(target=send, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_bytes().splitlines()) == sorted(event(n, 40_000).body for n in range(200))


# a webhook


def test_a_stock_library_verifies_the_signature(endpoint: End) -> None:
    """Standard Webhooks: id, timestamp and body are signed; the content type says CloudEvents."""
    with contextlib.closing(Webhook(endpoint.url, SECRET)) as webhook:
        webhook.send(event(7), lease(), NOW_S)
    ((headers, body),) = endpoint.got
    assert headers["webhook-id"] == event(7).name
    assert headers["content-type"].startswith("application/cloudevents+json")
    stock = StockWebhook(SECRET)
    signature = stock.sign(headers["webhook-id"], _time(NOW_S), body.decode())
    assert headers["webhook-signature"] == signature


def _time(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "confirmed"), (202, "confirmed"), (400, "refused"), (410, "refused"), (408, "retry"), (425, "retry"),
     (429, "retry"), (500, "retry"), (503, "retry"), (302, "retry")],
)  # fmt: skip
def test_what_an_answer_means(endpoint: End, status: int, outcome: str) -> None:
    """Only 2xx is a yes; only a plain 4xx is a no for good."""
    endpoint.answers = [status]
    with contextlib.closing(Webhook(endpoint.url, SECRET)) as webhook:
        assert webhook.send(event(1), lease(), NOW_S).value == outcome


def test_a_recipient_that_is_away_is_tried_again(endpoint: End) -> None:
    """Nobody listens: retry, with the same id."""
    gone = Webhook("http://127.0.0.1:9/", SECRET, timeout_s=1)
    assert gone.send(event(1), lease(), NOW_S) is Outcome.RETRY


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("ftp://x", SECRET),
        ("http://example.org/", SECRET),
        ("https://example.org/", "whsec_c2hvcnQ="),
        ("https://example.org/", "no base64!"),
    ],
)
def test_a_webhook_that_would_leak_or_not_sign_is_refused_at_start(url: str, secret: str) -> None:
    """Plain http leaves this machine for nobody."""
    with pytest.raises(ConfigError):
        Webhook(url, secret)


# a cut, as the other end of a real connection sees it


def test_a_cut_takes_back_what_lies_in_the_sockets_buffer() -> None:
    """The recipient, which was not reading, gets nothing that it had not got by then, and no end that looks whole."""
    with socket.socket() as listening:
        # a window of a few kilobytes: most of what is written stays at the sender
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        writes_left = iter([True, True, False])
        ending = lease(step_ms=LEASE_MS / 2 + 1, renew=lambda: next(writes_left))
        with contextlib.closing(Webhook(f"http://127.0.0.1:{port}/", SECRET)) as webhook:
            assert webhook.send(event(1, 2 * WRITE_BYTES_MAX), ending, NOW_S) is Outcome.CUT
        peer, _ = listening.accept()
        with peer:
            peer.settimeout(30)
            got: list[bytes] = []
            with pytest.raises(ConnectionResetError):
                got.extend(iter(lambda: peer.recv(65_536), b""))
    assert sum(map(len, got)) < WRITE_BYTES_MAX


def test_a_cut_never_goes_on_in_the_clear() -> None:
    """ssl takes its cipher away before it shuts the connection; a writer in another thread would come between."""
    ours, theirs = socket.socketpair()
    victim = ssl.SSLSocket.__new__(ssl.SSLSocket)
    socket.socket.__init__(victim, fileno=ours.detach())
    victim._sslobj = _Cipher()  # type: ignore[attr-defined]
    shut = socket.socket.shutdown

    def come_between(opened: socket.socket, how: int) -> None:
        opened.send(b"a reading")
        shut(opened, how)

    with pytest.MonkeyPatch.context() as patch, theirs:
        patch.setattr(socket.socket, "shutdown", come_between)
        reset(victim)
        assert theirs.recv(100) == b""


class _Cipher:
    """What it writes goes nowhere."""

    def write(self, data: bytes) -> int:
        return len(data)
