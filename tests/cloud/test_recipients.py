"""One conformance suite for every recipient: what an adapter must do, whoever listens at the other end."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.server
import itertools
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from standardwebhooks import Webhook as StockWebhook

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.lease import LEASE_MS, WRITE_BYTES_MAX, Lease
from carnet_cloud.recipients import Event, JsonLines, Outcome, Recipient, Webhook
from carnet_cloud.recipients.base import GROUP_MAX
from carnet_cloud.recipients.cutting import shut

SECRET = "whsec_" + base64.b64encode(b"a secret that both sides know").decode()
NOW_S = 1_760_000_000


def event(number: int, size: int = 20) -> Event:
    name = number.to_bytes(16, "big")
    return Event(name, json.dumps({"id": name.hex(), "pad": "x" * size}).encode())


def lease(*, step_ms: float = 0, renew: Callable[[], bool] = lambda: True) -> Lease:
    """A lease whose clock goes on by ``step_ms`` at every look."""
    times = itertools.count(0, step_ms) if step_ms else itertools.repeat(0.0)
    return Lease(b"e", "rec", 0.0, lambda: float(next(times)), renew)


def deliver(adapter: Recipient, each: Event, under: Lease | None = None) -> Outcome:
    """A group of one."""
    outcome = adapter.send(each, under or lease(), NOW_S)
    return adapter.finish() if outcome is Outcome.WRITTEN else outcome


def lost_lease() -> Lease:
    found = lease()
    found.cut()
    return found


@dataclass
class Endpoint:
    """A recipient's own server on this machine: keeps what it got, answers what it is told to."""

    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    found = Endpoint()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            body = self.rfile.read(size)
            if len(body) < size:
                # the sender was cut: what a real server would see as an aborted request
                self.close_connection = True
                return
            found.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(found.statuses.pop(0) if found.statuses else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}/events?x=1"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Case:
    """An adapter and how to see what its recipient has."""

    adapter: Recipient
    received: Callable[[], list[bytes]]


@pytest.fixture(params=["file", "webhook"])
def case(request: pytest.FixtureRequest, tmp_path: Path, endpoint: Endpoint) -> Iterator[Case]:
    if request.param == "file":
        path = tmp_path / "events.jsonl"
        adapter: Recipient = JsonLines(path)
        yield Case(adapter, lambda: path.read_bytes().splitlines())
    else:
        adapter = Webhook(endpoint.url, SECRET)
        yield Case(adapter, lambda: [body for _, body in endpoint.got])
    adapter.close()


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
    answers = iter([True, False])
    ending = lease(step_ms=LEASE_MS / 2 + 1, renew=lambda: next(answers, False))
    assert case.adapter.send(event(1, 60_000), ending, NOW_S) is Outcome.CUT
    assert case.received() == []


def test_it_goes_on_after_a_cut(case: Case) -> None:
    """One withdrawn record does not silence the others of the recipient."""
    case.adapter.send(event(1), lost_lease(), NOW_S)
    assert deliver(case.adapter, event(2)) is Outcome.CONFIRMED
    assert case.received() == [event(2).body]


def test_the_end_of_one_record_leaves_the_others_of_a_group(case: Case) -> None:
    """What was written before stays, what comes after goes on, and of what was cut there is nothing."""
    ends = iter([True, False])
    ending = lease(step_ms=LEASE_MS / 2 + 1, renew=lambda: next(ends, False))
    leases = [lease(), ending, lost_lease(), lease()]
    outcomes = [case.adapter.send(event(n, 60_000), each, NOW_S) for n, each in enumerate(leases)]
    assert outcomes[1:3] == [Outcome.CUT, Outcome.CUT]
    done = {Outcome.CONFIRMED: Outcome.CONFIRMED, Outcome.WRITTEN: case.adapter.finish()}
    assert [done[outcomes[n]] for n in (0, 3)] == [Outcome.CONFIRMED, Outcome.CONFIRMED]
    assert case.received() == [event(0, 60_000).body, event(3, 60_000).body]


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


# a webhook


def test_a_stock_library_verifies_the_signature(endpoint: Endpoint) -> None:
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
def test_what_an_answer_means(endpoint: Endpoint, status: int, outcome: str) -> None:
    """Only 2xx is a yes; only a plain 4xx is a no for good."""
    endpoint.statuses = [status]
    with contextlib.closing(Webhook(endpoint.url, SECRET)) as webhook:
        assert webhook.send(event(1), lease(), NOW_S).value == outcome


def test_a_recipient_that_is_away_is_tried_again(endpoint: Endpoint) -> None:
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
    shutdown = socket.socket.shutdown

    def come_between(opened: socket.socket, how: int) -> None:
        opened.send(b"a reading")
        shutdown(opened, how)

    with pytest.MonkeyPatch.context() as patch, victim, theirs:
        patch.setattr(socket.socket, "shutdown", come_between)
        shut(victim)
        assert theirs.recv(100) == b""


class _Cipher:
    """What it writes goes nowhere."""

    def write(self, data: bytes) -> int:
        return len(data)
