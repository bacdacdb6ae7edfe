"""A webhook: signed as others verify it, its answers told apart, and cut so that nothing more leaves the machine."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook as StockWebhook

from carnet.errors import ConfigError
from carnet_cloud.lease import LEASE_MS, WRITE_BYTES_MAX
from carnet_cloud.recipients import Outcome, Webhook
from carnet_cloud.recipients.cutting import reset
from tests.cloud.recipientkit import NOW_S, SECRET, End, event, http_end, lease


@pytest.fixture
def endpoint() -> Iterator[End]:
    with http_end() as end:
        yield end


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
