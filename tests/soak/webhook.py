"""A recipient over HTTP that can be told to misbehave, and that keeps what it got by name and by number.

Law: what it answered yes to and what merely arrived are kept apart; a reading that comes under two ids is seen.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from tests.system.mosquitto import HOST

MODES: Final = ("well", "error", "slow", "hanging", "broken")
SLOW_S: Final = 1.0
HANG_S_MAX: Final = 15.0


class Webhook:
    """One server for several recipients, told apart by path. ``mode`` is how all of them answer at present."""

    def __init__(self) -> None:
        self.mode = "well"
        self.heard: dict[str, Heard] = defaultdict(Heard)
        self._server = Server((HOST, 0), self)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Heard:
    """What one recipient has."""

    def __init__(self) -> None:
        self.arrivals = 0
        self.last: dict[str, float] = {}
        """Record -> time.monotonic() of the head of the last request under it."""
        self.confirmed: set[str] = set()
        """Ids that were answered with yes."""
        self.numbers: dict[str, dict[int, str]] = defaultdict(dict)
        """Path -> number -> id of the event that brought it."""
        self.doubled: list[tuple[str, int]] = []

    def take(self, event: dict[str, Any], at: float) -> None:
        self.arrivals += 1
        record = str(event["data"]["record"])
        self.last[record] = max(at, self.last.get(record, 0.0))
        for column in event["data"]["columns"]:
            numbers = self.numbers[column["path"]]
            self.doubled += [
                (column["path"], number)
                for number in column["v"]
                if column["path"].startswith("Vehicle.Tally.")
                and numbers.setdefault(number, event["id"]) != event["id"]
            ]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], hook: Webhook) -> None:
        super().__init__(address, Handler)
        self.hook = hook
        self.turn = threading.Lock()

    def handle_error(self, *_: object) -> None:
        """A connection that was cut: that is what a withdrawal and a kill do."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        at = time.monotonic()
        hook = self.server.hook
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.turn:
            hook.heard[self.path].take(event, at)
        getattr(self, f"_{hook.mode}")(event)

    def _well(self, event: dict[str, Any]) -> None:
        with self.server.turn:
            self.server.hook.heard[self.path].confirmed.add(event["id"])
        self.send_response(204)
        self.end_headers()

    def _error(self, _: object) -> None:
        self.send_response(500)
        self.send_header("content-length", "0")
        self.end_headers()

    def _slow(self, event: dict[str, Any]) -> None:
        time.sleep(SLOW_S)
        self._well(event)

    def _hanging(self, _: object) -> None:
        """No answer until others are well answered, and then none either."""
        end = time.monotonic() + HANG_S_MAX
        while self.server.hook.mode == "hanging" and time.monotonic() < end:
            time.sleep(0.1)
        self.close_connection = True

    def _broken(self, _: object) -> None:
        self.wfile.write(b"HTTP/1.1 20")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        return
