"""An HTTP recipient: CloudEvents 1.0 in structured mode, signed as Standard Webhooks describes.

Answers: 2xx confirms; 410 and other 4xx but 408, 425 and 429 refuse for good; anything else, and an answer that its
peer breaks off, is tried again with the same event id (``docs/decisions/0019-broken-answers.md``). Bytes are written in
pieces of at most 16 kB, each after a look at the lease; a cut resets the connection.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import io
import urllib.parse
from collections.abc import Callable
from typing import Any

from carnet.connecterrors import sentence
from carnet.errors import ConfigError
from carnet.loopback import is_loopback
from carnet_cloud.lease import WRITE_BYTES_MAX, Lease, LeaseOver
from carnet_cloud.recipients.base import Event, Outcome, Trouble
from carnet_cloud.recipients.cutting import shut

TIMEOUT_S = 15.0
ANSWER_BYTES_MAX = 65_536
RETRY_STATUS = frozenset({408, 425, 429})
BROKEN = Trouble("answer_broken", "it breaks its answer off, or answers with something else than HTTP")


class Webhook:
    """``secret``: the text ``whsec_`` + base64 that both sides know. ``https`` unless the host is this machine."""

    def __init__(self, url: str, secret: str, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("webhook_url", "a webhook url starts with https:// and names a host")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ConfigError("webhook_plain", "a webhook outside this machine needs https")
        self._parts = parts
        self._path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        self._key = _secret(secret)
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self.trouble: Trouble | None = None
        """Why the last event that was not confirmed was not."""

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        try:
            connection = self._of_now()
            lease.on_cut(lambda: _reset(connection))
            if connection.sock is None:
                connection.connect()
            return self._exchange(connection, event, lease, now_s)
        except LeaseOver:
            self._drop()
            return Outcome.CUT
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # AttributeError: http.client met the socket that a cut took away
            self._drop()
            self.trouble = Trouble("unreachable", sentence(error)) if isinstance(error, OSError) else BROKEN
            return Outcome.CUT if lease.over else Outcome.RETRY

    def finish(self) -> Outcome:
        """Every answer has come by itself."""
        return Outcome.CONFIRMED

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _of_now(self) -> http.client.HTTPConnection:
        """The open connection, or a new one that is still to be connected."""
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout_s)
            # or a write after a cut would quietly open another connection and go on there
            self._connection.auto_open = 0
            self._connection.response_class = _Answer
        return self._connection

    def _exchange(self, connection: http.client.HTTPConnection, event: Event, lease: Lease, now_s: int) -> Outcome:
        lease.guard()
        connection.putrequest("POST", self._path, skip_accept_encoding=True)
        for name, value in {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "Content-Length": str(len(event.body)),
            "User-Agent": "carnet",
            **signature_headers(self._key, event, now_s),
        }.items():
            connection.putheader(name, value)
        connection.endheaders()
        for at in range(0, len(event.body), WRITE_BYTES_MAX):
            lease.guard()
            connection.send(event.body[at : at + WRITE_BYTES_MAX])
        answer = connection.getresponse()
        assert isinstance(answer, _Answer)
        size = len(answer.read(ANSWER_BYTES_MAX))
        if answer.is_broken(size):
            self._drop()
            self.trouble = BROKEN
            return Outcome.CUT if lease.over else Outcome.RETRY
        if not answer.isclosed() or answer.will_close or not 200 <= answer.status < 300:
            # after 1xx another answer would follow, and be taken for the next event's
            self._drop()
        if lease.over and answer.will_close:
            # it ends where the connection does, and we ended that
            return Outcome.CUT
        outcome = _judge(answer.status)
        if outcome is Outcome.RETRY:
            self.trouble = Trouble(f"status_{answer.status}", f"it answers with status {answer.status}")
        return outcome

    def _drop(self) -> None:
        if self._connection is not None:
            _reset(self._connection)
            self._connection = None


class _Answer(http.client.HTTPResponse):
    """An answer that knows whether its peer broke it off: http.client takes half a head for a whole one, and a body
    that is shorter than its length as well.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._lines = _Lines(self.fp.detach())
        self.fp = self._lines

    def is_broken(self, size: int) -> bool:
        """After ``size`` bytes of its body were read, as many as there are or ANSWER_BYTES_MAX."""
        return self._lines.ended or (bool(self.length) and size < ANSWER_BYTES_MAX)


class _Lines(io.BufferedReader):
    """A stream that remembers whether it ended where a line of a head, or of a chunk, was still to come."""

    ended = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.ended = self.ended or not line.endswith(b"\n")
        return line


def signature_headers(key: bytes, event: Event, now_s: int) -> dict[str, str]:
    """Standard Webhooks: HMAC-SHA256 over ``id.timestamp.body``."""
    signed = b".".join((event.name.encode(), str(now_s).encode(), event.body))
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": event.name, "webhook-timestamp": str(now_s), "webhook-signature": f"v1,{mac}"}


def retry_delay_ms(attempts: int, random: Callable[[], float]) -> int:
    """Full jitter between half and all of 1 s, 2 s, 4 s … 1 hour; ``random`` gives [0, 1)."""
    top = min(3_600_000, 1000 * 2 ** min(attempts, 12))
    return int(top * (0.5 + 0.5 * random()))


def _judge(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome.CONFIRMED
    if 400 <= status < 500 and status not in RETRY_STATUS:
        return Outcome.REFUSED
    return Outcome.RETRY


def _secret(text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError as e:
        raise ConfigError("webhook_secret", "a webhook secret is whsec_ followed by base64") from e
    if not 24 <= len(key) <= 64:
        raise ConfigError("webhook_secret", "a webhook secret holds 24 to 64 bytes")
    return key


def _reset(connection: http.client.HTTPConnection) -> None:
    """Break the connection so that not even buffered bytes leave."""
    raw = connection.sock
    if raw is not None:
        shut(raw)
        connection.close()
