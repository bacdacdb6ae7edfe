"""Whatever the bytes on the local socket, the agent answers one line of JSON or hangs up, and answers the next one."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from carnet.errors import ConfigError
from carnet_agent.local import Document, LocalServer
from carnet_agent.statefolder import SOCKET_FILE

SIZE_MAX = 10_000
RUNS = 2000
HONEST = b'{"do": "status"}\n'
STEPS_MAX = 20
_folder = tempfile.TemporaryDirectory()


def _handle(request: Document) -> Document:
    if request.get("do") not in ("status", "mode", "flush"):
        raise ConfigError("request_unknown", "a request does status, mode or flush")
    return {"heard": len(request)}


SERVER = LocalServer(Path(_folder.name), _handle)
SERVER.open()


def seeds() -> Iterable[bytes]:
    yield from (HONEST, b'{"do": "mode", "mode": "guest"}\n', b'{"do": "flush"}', b"[1]\n", b"null\n", b"\n")
    yield b"[" * 4000 + b"\n"
    yield b"9" * 9000
    yield b'{"do": "\xff\xfe"}\n{"do": "status"}\n'


def check(data: bytes) -> None:
    answer = _answer(data)
    assert answer == b"" or set(json.loads(answer)) in ({"heard"}, {"error", "message"})
    assert answer == b"" or answer.endswith(b"\n")
    assert _answer(HONEST) == b'{"heard": 1}\n'


def _answer(data: bytes) -> bytes:
    """What comes back until the server hangs up; the client says nothing more after ``data``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(f"{_folder.name}/{SOCKET_FILE}")
        client.setblocking(False)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        found = b""
        for _ in range(STEPS_MAX):
            SERVER.step(0.0)
            try:
                part = client.recv(65_536)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return b""
            if not part:
                return found
            found += part
    raise AssertionError("the server neither answers nor hangs up")
