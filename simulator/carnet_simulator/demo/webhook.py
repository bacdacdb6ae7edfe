"""The insurer's side of a webhook: an HTTP server that checks the signature and appends what it took to a file.

Law: an event is confirmed only after it was verified and written; one that comes again is confirmed and not written
again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final, Self

BODY_BYTES_MAX: Final = 1 << 24
AGE_S_MAX: Final = 300


def verify(secret: str, headers: dict[str, str], body: bytes, now_s: float) -> bool:
    """Whether these are the words of one who knows the secret, said just now, as Standard Webhooks describes.

    ``secret``: ``whsec_`` and base64. ``headers``: lower-case names.
    """
    name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not name or not stamp.isdecimal() or abs(now_s - int(stamp)) > AGE_S_MAX:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.new(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest())
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(b"v1," + mac, each.encode()) for each in given)


class Insurer:
    """Listens on a free port of this machine; ``file`` gets one line for each event."""

    def __init__(self, file: Path, secret: str) -> None:
        self.refused = 0
        self.repeated = 0
        self._file = file
        self._secret = secret
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        insurer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(min(size, BODY_BYTES_MAX))
                self.send_response(insurer.take({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
                """Nothing: a log line would stand in the middle of the picture."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/carnet"

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The HTTP status for a delivery."""
        with self._lock:
            if not verify(self._secret, headers, body, time.time()) or b"\n" in body:
                self.refused += 1
                return 401
            if headers["webhook-id"] in self._seen:
                self.repeated += 1
                return 200
            with self._file.open("ab") as file:
                file.write(body + b"\n")
            self._seen.add(headers["webhook-id"])
            return 204

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
