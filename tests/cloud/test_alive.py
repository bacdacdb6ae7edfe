"""Every thread of the cloud says that it lives, and systemd hears it only while all of them do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from carnet_cloud.apiserver import ApiServer
from carnet_cloud.config import load
from carnet_cloud.lease import Lease
from carnet_cloud.running.loops import CONNECT_S_MAX, STALLED_S
from carnet_cloud.running.membership import Membership
from carnet_cloud.service import Service
from tests import consentkit as kit
from tests.cloud.test_commands import CONFIG, config  # noqa: F401

RECIPIENT = """
[[recipient]]
id = "rcp_aaaaaaaaaaaaaaaa"
kind = "file"
name = "workshop"
path = "events.jsonl"
"""
LOOPS = ("receiver", "keeper", "sequencer", "probe", "forward 0", "api", "mqtt")
LIMIT_S = 20.0


@pytest.fixture
def service(config: Path) -> Iterator[Service]:  # noqa: F811
    """Built, with its threads made; no broker listens where it connects."""
    config.write_text(CONFIG + RECIPIENT)
    made = Service(load(config))
    yield made
    made.stop()
    made.parts.store.close()


def test_f21_every_thread_says_that_it_makes_progress(service: Service) -> None:
    opened = socket.create_server(("127.0.0.1", 0))
    server = ApiServer(service.parts.api, service._loops.alive("api"))
    threads = [*service._threads(), threading.Thread(target=server.run, args=([opened],), daemon=True)]

    def told() -> dict[str, float]:
        return {**service._loops.progress, "mqtt": service.parts.link.progress_s}

    before = told()
    assert set(before) == set(LOOPS)
    service.parts.link.start()
    for thread in threads:
        thread.start()
    end = time.monotonic() + LIMIT_S
    while not all(now > then for now, then in zip(told().values(), before.values(), strict=True)):
        assert time.monotonic() < end, "a thread says nothing"
        time.sleep(0.01)
    server.should_exit = True
    service.stop()
    service._taken.set()
    service.parts.link.stop()
    for thread in threads:
        thread.join(LIMIT_S)


def heard(service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemd is told in three rounds of the watch."""
    rounds = iter([None, None, service.stop])

    def watched(_: float) -> int:
        do = next(rounds)
        if do is not None:
            do()
        return 0

    monkeypatch.setattr(service.parts.leases, "cut_begun_before", watched)
    monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.setblocking(False)
        service._watch(service.parts)
        said = []
        while True:
            try:
                said.append(manager.recv(4096).decode().split("\n")[0])
            except BlockingIOError:
                return said


@pytest.mark.parametrize("hanging", [*LOOPS, ""])
def test_f21_a_thread_that_hangs_ends_in_a_restart(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    """The watchdog is fed only while none of them stands still."""
    now = time.monotonic()
    connecting = hanging.startswith(("forward", "mqtt"))
    late = now - (CONNECT_S_MAX if connecting else STALLED_S) - 1
    service._loops.progress.update(
        {name: late if name == hanging else now + LIMIT_S for name in LOOPS if name != "mqtt"}
    )
    service.parts.link.progress_s = late if hanging == "mqtt" else now + LIMIT_S
    said = heard(service, tmp_path, monkeypatch)
    assert (said[0], said[-1]) == ("READY=1", "STOPPING=1")
    assert ("WATCHDOG=1" in said) is not bool(hanging)


class Others:
    """Other receivers: ``said`` is what they narrow."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.turns = 0

    def turn(self) -> frozenset[int]:
        self.turns += 1
        return frozenset()

    def narrowed(self, wait_s: float) -> list[str]:
        time.sleep(0.001)
        said, self.said = self.said, []
        return said


def test_the_end_does_not_stop_hearing_what_others_narrow(service: Service) -> None:
    """What is in the air then is cut as at any other time; shards are taken no more."""
    others, heard = Others(), threading.Event()
    lease = Lease(bytes(16), kit.RECORD_ID, 0.0, time.monotonic, lambda: True)
    lease.on_cut(heard.set)
    service.parts.leases.add([lease])
    service._parts = replace(service.parts, membership=cast("Membership", others))
    (sharing,) = (thread for thread in service._threads() if thread.name == "sharing")
    service.stop()
    sharing.start()
    others.said = [kit.RECORD_ID]
    assert heard.wait(LIMIT_S)
    assert others.turns == 0
    service._sent.set()
    sharing.join(LIMIT_S)
    assert not sharing.is_alive()


def test_f25_what_a_sale_ends_is_over_before_anything_is_received_or_sent(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been enrolled while no service ran."""
    order: list[str] = []

    def finish(*_: object) -> int:
        order.append("sales")
        return 0

    def start() -> None:
        assert order == ["sales"]
        raise InterruptedError

    monkeypatch.setattr("carnet_cloud.service.finish_sales", finish)
    monkeypatch.setattr(service.parts.link, "start", start)
    with socket.create_server(("127.0.0.1", 0)) as opened:
        monkeypatch.setattr(service, "_api_socket", lambda: opened)
        with pytest.raises(InterruptedError):
            service.run()
