"""Shell: the local socket, by which ``status`` and ``mode`` reach the running agent. One JSON line in, one out.

Law: only the owner of the state folder reaches it, a line has a bound, and no client can make the agent wait.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from carnet.errors import Error, UnavailableError
from carnet_agent.statefolder import SOCKET_FILE

REQUEST_BYTES_MAX: Final = 4096
ANSWER_BYTES_MAX: Final = 1 << 20
CLIENTS_MAX: Final = 8
CLIENT_S_MAX: Final = 5.0

Document = dict[str, Any]
Handler = Callable[[Document], Document]

log = logging.getLogger(__name__)


class LocalServer:
    """Waits and answers in the caller's thread, inside `step`."""

    def __init__(self, state: Path, handler: Handler) -> None:
        self._state = state
        self._handler = handler
        self._selector = selectors.DefaultSelector()
        self._clients: dict[socket.socket, _Client] = {}
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Listen; a socket that a killed agent left is replaced. OSError if the folder cannot be written."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            (self._state / SOCKET_FILE).unlink(missing_ok=True)
            with _address(self._state) as address:
                listener.bind(address)
            (self._state / SOCKET_FILE).chmod(0o600)
            listener.listen(CLIENTS_MAX)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ)

    def step(self, timeout_s: float) -> None:
        """Wait at most so long, and answer whoever has asked."""
        if self._listener is None:
            time.sleep(max(0.0, timeout_s))
            return
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket):
                self._serve(key.fileobj)
        now = time.monotonic()
        for opened in [opened for opened, client in self._clients.items() if now > client.until_s]:
            self._forget(opened)

    def close(self) -> None:
        """Stop listening and let go of everybody."""
        for opened in list(self._clients):
            self._forget(opened)
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
            with contextlib.suppress(OSError):
                (self._state / SOCKET_FILE).unlink(missing_ok=True)
        self._selector.close()

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            opened, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= CLIENTS_MAX:
            opened.close()
            return
        opened.setblocking(False)
        self._clients[opened] = _Client(time.monotonic() + CLIENT_S_MAX)
        self._selector.register(opened, selectors.EVENT_READ)

    def _serve(self, opened: socket.socket) -> None:
        client = self._clients[opened]
        try:
            if client.answer:
                del client.answer[: opened.send(client.answer)]
            else:
                self._read(opened, client)
        except BlockingIOError:
            return
        except OSError:
            client.over = True
        if client.over and not client.answer:
            self._forget(opened)

    def _read(self, opened: socket.socket, client: _Client) -> None:
        data = opened.recv(REQUEST_BYTES_MAX + 1)
        client.request += data
        line, newline, _ = bytes(client.request).partition(b"\n")
        if newline:
            client.answer += json.dumps(self._answer(line)).encode() + b"\n"
            self._selector.modify(opened, selectors.EVENT_WRITE)
            client.over = True
        elif not data or len(client.request) > REQUEST_BYTES_MAX:
            client.over = True

    def _answer(self, line: bytes) -> Document:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return {"error": "not_json", "message": "a request is a JSON object"}
        try:
            return self._handler(request)
        except Error as error:
            return {"error": error.reason, "message": str(error)}

    def _forget(self, opened: socket.socket) -> None:
        self._selector.unregister(opened)
        del self._clients[opened]
        opened.close()


class _Client:
    """Somebody who asks."""

    __slots__ = ("answer", "over", "request", "until_s")

    def __init__(self, until_s: float) -> None:
        self.request = bytearray()
        self.answer = bytearray()
        self.until_s = until_s
        self.over = False
        """Nothing more is read; gone once the answer is out."""


def ask(state: Path, request: Document, timeout_s: float = CLIENT_S_MAX) -> Document:
    """The running agent's answer. UnavailableError ``agent_not_running`` or ``agent_silent``; its refusals as Error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as opened:
        opened.settimeout(timeout_s)
        try:
            with _address(state) as address:
                opened.connect(address)
        except OSError:
            raise UnavailableError("agent_not_running", f"no agent is running on {state}") from None
        try:
            opened.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(opened))
        except (OSError, ValueError):
            raise UnavailableError("agent_silent", "the agent does not answer") from None
    assert isinstance(answer, dict)
    if "error" in answer:
        raise Error(str(answer["error"]), str(answer.get("message", "")))
    return answer


def _line(opened: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        part = opened.recv(65_536)
        if not part or len(data) > ANSWER_BYTES_MAX:
            raise ValueError("no answer")
        data += part
    return bytes(data)


@contextlib.contextmanager
def _address(state: Path) -> Iterator[str]:
    """The socket's address, by way of an open folder: an address has room for 107 bytes, a path may be longer."""
    descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_FILE}"
    finally:
        os.close(descriptor)
