"""The local socket answers whoever may open it, and nobody who asks badly or slowly can make the agent wait."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from carnet.errors import ConfigError, Error, UnavailableError
from carnet_agent.local import CLIENT_S_MAX, CLIENTS_MAX, REQUEST_BYTES_MAX, Document, LocalServer, ask


def answer(request: Document) -> Document:
    if request.get("do") == "refuse":
        raise ConfigError("no_such_mode", "there is no such mode")
    return {"heard": request, "padding": "x" * request.get("size", 0)}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Deeper than the 107 bytes that a socket's address has room for."""
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(state: Path) -> Iterator[LocalServer]:
    """Answers in a thread until the test is over."""
    made = LocalServer(state, answer)
    made.open()
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            made.step(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    yield made
    over.set()
    thread.join()
    made.close()


def connect(state: Path, opened: socket.socket) -> None:
    """The path is too long for an address, its folder's descriptor is not."""
    descriptor = os.open(state, os.O_RDONLY)
    opened.connect(f"/proc/self/fd/{descriptor}/agent.sock")
    os.close(descriptor)


def raw(state: Path, data: bytes) -> bytes:
    """What the server sends for these bytes until it closes."""
    with socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(10)
        connect(state, opened)
        opened.sendall(data)
        received = b""
        while part := opened.recv(65_536):
            received += part
        return received


def test_a_request_is_answered(state: Path, server: LocalServer) -> None:
    assert ask(state, {"do": "status"})["heard"] == {"do": "status"}


def test_a_long_answer_arrives_whole(state: Path, server: LocalServer) -> None:
    """Longer than any socket's buffer."""
    assert len(ask(state, {"size": 900_000})["padding"]) == 900_000


def test_a_refusal_is_the_askers_error(state: Path, server: LocalServer) -> None:
    with pytest.raises(Error, match="no such mode") as caught:
        ask(state, {"do": "refuse"})
    assert caught.value.reason == "no_such_mode"


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"\xff\n", b"[" * 4000 + b"\n", b"\n"])
def test_what_is_no_json_object_is_refused(state: Path, server: LocalServer, line: bytes) -> None:
    assert json.loads(raw(state, line))["error"] == "not_json"


def test_a_line_without_an_end_is_cut_off(state: Path, server: LocalServer) -> None:
    """At its bound, long before a slow client would be."""
    start = time.monotonic()
    assert raw(state, b"x" * (REQUEST_BYTES_MAX + 1)) == b""
    assert time.monotonic() - start < CLIENT_S_MAX / 2


def test_silent_clients_keep_nobody_waiting(state: Path, server: LocalServer) -> None:
    """As many as may be connected say nothing; the loop turns on, and they are let go of."""
    silent = [socket.socket(socket.AF_UNIX) for _ in range(CLIENTS_MAX)]
    for opened in silent:
        connect(state, opened)
    for opened in silent:
        opened.close()
    assert ask(state, {"do": "status"})["heard"] == {"do": "status"}


def test_step_waits_no_longer_than_it_was_told(state: Path) -> None:
    made = LocalServer(state, answer)
    made.open()
    start = time.monotonic()
    made.step(0.02)
    assert time.monotonic() - start < 1
    made.close()


def test_only_the_owner_may_ask(state: Path, server: LocalServer) -> None:
    assert (state / "agent.sock").stat().st_mode & 0o777 == 0o600


def test_a_socket_that_a_killed_agent_left_is_replaced(state: Path) -> None:
    (state / "agent.sock").write_bytes(b"left")
    with pytest.raises(UnavailableError, match="no agent is running"):
        ask(state, {})
    made = LocalServer(state, answer)
    made.open()
    made.close()
    assert not (state / "agent.sock").exists()


def test_without_an_agent_the_asker_hears_so(state: Path) -> None:
    with pytest.raises(UnavailableError, match="no agent is running"):
        ask(state, {"do": "status"})
