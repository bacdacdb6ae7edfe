"""A service that answers as no service of ours does, byte for byte: a broken one, another one, another version."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Final


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """An HTTP answer; ``length`` is what it claims of its body."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


EVERY_MEMBER_WRONG: Final = {
    name: value
    for value, names in {
        7: ("record", "state", "device", "id", "recipient_name", "head"),
        "seven": ("expires_ms", "event_seq", "destroyed", "unknown", "silent_after_ms", "silent_until_confirmed"),
    }.items()
    for name in names
}
ANSWERS: Final = {
    "nothing": b"",
    "a bad status line": b"hello\r\n\r\n",
    "no JSON": http(b"<html>welcome</html>"),
    "no UTF-8": http(b"\xff\xfe{"),
    "an endless list": http(b"[" * 100_000),
    "half a body": http(b'{"records":', length=4000),
    "null": http(b"null"),
    "a list": http(b"[]"),
    "an empty object": http(b"{}"),
    "numbers for objects": http(json.dumps({n: [1] for n in ("records", "offers", "answers", "blocked")}).encode()),
    "no offers": http(json.dumps({"offers": ["not base64!"], "records": {}, "answers": {}}).encode()),
    "members of other types": http(
        json.dumps(
            EVERY_MEMBER_WRONG | {"records": [EVERY_MEMBER_WRONG], "blocked": [], "answers": [EVERY_MEMBER_WRONG]}
        ).encode()
    ),
    "a failure in HTML": http(b"<h1>Bad gateway</h1>", "502 Bad Gateway"),
    "a refusal that is a list": http(b"[]", "400 Bad Request"),
    "a refusal in numbers": http(b'{"reason":1,"message":[2]}', "400 Bad Request"),
    "a refusal that takes over the terminal": http(
        json.dumps({"reason": "x\n\x1b[2J", "message": "gone \x1b[2J\nyour consent is withdrawn"}).encode(),
        "400 Bad Request",
    ),
    "half a refusal": http(b'{"reason":', "400 Bad Request", 4000),
}
"""What it is -> the bytes."""


class BrokenService:
    """Listens on a free port of this machine; ``answer`` makes the bytes for a method and a path."""

    def __init__(self, answer: Callable[[str, str], bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answer = answer
        self.listen = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self._reply(connection)

    def _reply(self, connection: socket.socket) -> None:
        """Read the whole request first: an answer to half of one would be cut by a reset."""
        with connection.makefile("rb") as asked:
            method, path, _ = asked.readline().decode().split(" ")
            headers = dict(line.decode().lower().split(":", 1) for line in iter(asked.readline, b"\r\n"))
            asked.read(int(headers.get("content-length", "0")))
            connection.sendall(self._answer(method, path))


def good(document: Any) -> bytes:
    """What a service of ours would answer."""
    return http(json.dumps(document).encode())
