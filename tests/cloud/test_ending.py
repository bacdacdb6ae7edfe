"""The end of the service: what was taken is answered, a send is finished or cut, nothing waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.lease import Lease, LeaseOver, Leases
from carnet_cloud.mqtt import BrokerLink
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.running import ending
from carnet_cloud.running.ending import Threads, end
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit

LIMIT_S = 20.0


class FakeLink:
    """Messages that have arrived, and what was done with the connection."""

    def __init__(self, waiting: int = 0) -> None:
        self.waiting = waiting
        self.log: list[str] = []

    @property
    def is_empty(self) -> bool:
        return not self.waiting

    def stop_taking(self) -> None:
        self.log.append("stop taking")

    def stop(self) -> None:
        self.log.append(f"disconnect with {self.waiting} waiting")


def thread(name: str, work: Callable[[], object] = lambda: None) -> threading.Thread:
    made = threading.Thread(target=work, name=name, daemon=True)
    made.start()
    return made


def finish(link: FakeLink, leases: Leases, taken: threading.Event, **threads: Any) -> list[str]:
    every: dict[str, Any] = {"receiver": thread("receiver"), "senders": [], "others": [], "api": thread("api")}
    stop: Callable[[], None] = threads.pop("stop", lambda: link.log.append("stop serving"))
    sent: threading.Event = threads.pop("sent", threading.Event())
    return end(Threads(**(every | threads)), cast("BrokerLink", link), leases, taken, sent, stop)


def test_what_has_arrived_is_taken_before_the_connection_goes_and_the_api_is_last() -> None:
    link, taken = FakeLink(waiting=50), threading.Event()

    def receive() -> None:
        while not taken.is_set():
            time.sleep(0.001)
            link.waiting = max(0, link.waiting - 1)

    assert finish(link, Leases(), taken, receiver=thread("receiver", receive)) == []
    assert link.log == ["stop taking", "disconnect with 0 waiting", "stop serving"]


def test_a_receiver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "TAKEN_S_MAX", 0.1)
    over = threading.Event()
    started = time.monotonic()
    left = finish(FakeLink(waiting=1), Leases(), threading.Event(), receiver=thread("receiver", over.wait))
    assert left == ["receiver"]
    assert time.monotonic() - started < LIMIT_S / 2
    over.set()


class Hanging:
    """A recipient that answers nothing until its connection is cut."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        cut = threading.Event()
        lease.on_cut(cut.set)
        self.asked.set()
        assert cut.wait(LIMIT_S)
        try:
            lease.guard()
        except LeaseOver:
            return Outcome.CUT
        raise AssertionError("a cut lease lets nothing through")

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None: ...


def test_a_send_that_hangs_is_cut_and_comes_again_under_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "SENT_S_MAX", 0.2)
    cloud, unit, hanging = Cloud(tmp_path), Unit(), Hanging()
    cloud.enrol(unit)
    cloud.give()
    cloud.send(unit.schema(), unit.data())
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.5)
    forwarder = Forwarder(
        cloud.store, {kit.RECIPIENT: hanging}, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"o" * 8
    )
    sender = thread("forward 0", lambda: forwarder.step(kit.RECIPIENT))
    assert hanging.asked.wait(LIMIT_S)
    with cloud.store.transaction() as t:
        assert t.outbox.depth() == {"leased": 1}
    assert finish(FakeLink(), cloud.leases, threading.Event(), senders=[sender]) == []
    with cloud.store.transaction() as t:
        assert t.outbox.depth() == {"queued": 1}
        (queued,) = t.outbox.due(kit.RECIPIENT, b"sender01", 2**52, 10)
        (delivery,) = t.outbox.deliveries(kit.RECORD_ID)
    assert (queued.event_id, queued.attempts, delivery.outcome) == (delivery.event_id, 1, "queued")
    assert cloud.leases.taken_ms() == []


def test_all_bounds_together_stay_below_what_systemd_waits() -> None:
    from carnet_cloud.mqtt import FLUSH_S_MAX, JOIN_S_MAX
    from tests.conftest import CHECKOUT

    unit = (CHECKOUT / "systemd" / "carnet-cloud.service").read_text()
    allowed_s = float(unit.partition("TimeoutStopSec=")[2].split()[0])
    connection_s = FLUSH_S_MAX + JOIN_S_MAX
    worst_s = max(ending.TAKEN_S_MAX + connection_s, ending.SENT_S_MAX) + ending.CUT_S_MAX + ending.SERVED_S_MAX
    assert worst_s < allowed_s


def test_what_another_receiver_narrows_is_heard_until_the_last_send_has_ended() -> None:
    """Its withdrawal returns within the lease: by then nothing of ours may lie in a socket that is not broken off."""
    leases, sent, asked = Leases(), threading.Event(), threading.Event()
    cut = threading.Event()

    def send() -> None:
        lease = Lease(bytes(16), kit.RECORD_ID, 0.0, lambda: 0.0, lambda: True)
        lease.on_cut(cut.set)
        leases.add([lease])
        asked.set()
        cut.wait(LIMIT_S)

    def listen() -> None:
        """As `Service._share` hears it: the narrowing comes when the end has begun."""
        while not sent.wait(0.001):
            if "stop taking" in link.log:
                leases.cut(kit.RECORD_ID)

    link = FakeLink()
    sender = thread("forward 0", send)
    assert asked.wait(LIMIT_S)
    started = time.monotonic()
    others = [thread("sharing", listen)]
    assert finish(link, leases, threading.Event(), senders=[sender], others=others, sent=sent) == []
    assert time.monotonic() - started < ending.SENT_S_MAX
    assert cut.is_set()
    assert sent.is_set()
