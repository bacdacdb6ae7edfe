"""The loop goes on whatever bus, broker, disk or core do, counts what failed, and ends with everything written."""

from __future__ import annotations

import itertools
import socket
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carnet.errors import ConfigError, UnavailableError
from carnet.narrowing import Ceiling, Mode
from carnet_agent.bus.reader import BusCounters, Identifier
from carnet_agent.effects import Effect, Note, Publish, SetIdentifiers
from carnet_agent.frames import Frames
from carnet_agent.instant import Instant
from carnet_agent.moment import Moment
from carnet_agent.mqtt import Arrived, Down, Event, Up
from carnet_agent.service import Service


class FakeCore:
    """Notes what it is told; ``effects`` and ``failure`` are what it does next."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.effects: list[Effect] = []
        self.failure: Exception | None = None

    def _called(self, *what: Any) -> Sequence[Effect]:
        self.calls.append(what if len(what) > 1 else what[0])
        if self.failure is not None:
            raise self.failure
        effects, self.effects = self.effects, []
        return effects

    def on_start(self, now: Moment) -> Sequence[Effect]:
        return self._called("start")

    def on_frames(self, frames: Frames, now: Moment) -> Sequence[Effect]:
        return self._called("frames", len(frames))

    def on_down(self, payload: bytes, now: Moment) -> Sequence[Effect]:
        return self._called("down", payload)

    def on_connection(self, up: bool, now: Moment) -> Sequence[Effect]:
        return self._called("connection", up)

    def on_tick(self, now: Moment) -> Sequence[Effect]:
        return self._called("tick")

    def set_mode(self, mode: Mode, now: Moment) -> Sequence[Effect]:
        return self._called("mode", mode)

    def set_ceiling(self, ceiling: Ceiling | None, now: Moment) -> Sequence[Effect]:
        return self._called("ceiling", ceiling)

    def flush(self, reason: str, now: Moment) -> Sequence[Effect]:
        return self._called("flush", reason)

    def ledger(self) -> list[dict[str, object]]:
        return []

    def status(self) -> dict[str, Any]:
        return {"mode": "normal"}


class FakeReader:
    """A bus that yields a frame at each turn, or fails at each."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.counters = BusCounters(frames=7)
        self.fault: str | None = None
        self.identifiers: Any = None
        self.closed = False

    def read(self, now: Instant) -> Frames:
        if self.failure is not None:
            raise self.failure
        one = np.zeros(1, np.uint8)
        return Frames(one, one.astype(np.uint32), one, one, np.zeros((1, 8), np.uint8), np.zeros(1, np.int64))

    def set_identifiers(self, identifiers: Any) -> None:
        self.identifiers = identifiers

    def close(self) -> None:
        self.closed = True


class FakeLink:
    def __init__(self) -> None:
        self.counters: Counter[str] = Counter(connections=1)
        self.fault: str | None = None
        self.progress_s = float("inf")
        self.events: list[Event] = []
        self.sent: list[bytes] = []
        self.stopped: float | None = None

    def start(self) -> None:
        pass

    def take(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def send(self, payload: bytes) -> bool:
        self.sent.append(payload)
        return True

    def stop(self, wait_s: float = 0.0) -> None:
        self.stopped = wait_s


class Turns:
    """Waits for nothing, and stops the service after so many turns."""

    def __init__(self, service: Service, count: int) -> None:
        self.service = service
        self.left = count

    def step(self, timeout_s: float) -> None:
        assert timeout_s <= 0.05
        self.left -= 1
        if self.left <= 0:
            self.service.stop()


@pytest.fixture
def core() -> FakeCore:
    return FakeCore()


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


def moment(now: Instant) -> Moment:
    return Moment(now.boot_ns // 1_000_000, b"boot-id.", now.real_ns // 1_000_000, False)


def service(core: FakeCore, link: FakeLink, **readers: FakeReader) -> Service:
    return Service(core, readers, link, moment)


def test_frames_messages_and_ticks_reach_the_core(core: FakeCore, link: FakeLink) -> None:
    """In a turn: every bus, then what the broker brought, in order."""
    made = service(core, link, can0=FakeReader(), can1=FakeReader())
    link.events = [Up(1), Arrived(b"answer"), Down(1)]
    made.run(Turns(made, 1))
    assert core.calls[:7] == [
        "start",
        ("frames", 1),
        ("frames", 1),
        ("connection", True),
        ("down", b"answer"),
        ("connection", False),
        "tick",
    ]


class TimedCore(FakeCore):
    """Notes also when it is called, in seconds."""

    def on_frames(self, frames: Frames, now: Moment) -> Sequence[Effect]:
        return self._called("frames", now.boot_ms // 1000)

    def on_down(self, payload: bytes, now: Moment) -> Sequence[Effect]:
        return self._called("down", now.boot_ms // 1000)

    def on_tick(self, now: Moment) -> Sequence[Effect]:
        return self._called("tick", now.boot_ms // 1000)

    def set_mode(self, mode: Mode, now: Moment) -> Sequence[Effect]:
        return self._called("mode", now.boot_ms // 1000)


class LateReader(FakeReader):
    """Its frame comes with the message that lies at the broker."""

    def __init__(self, link: FakeLink) -> None:
        super().__init__()
        self.link = link

    def read(self, now: Instant) -> Frames:
        assert not self.link.events, "the message is taken first: a frame that comes after this read would be lost"
        return super().read(now)


def test_no_frame_falls_between_a_drain_and_what_ends_a_collection(
    link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consent that comes or goes begins the columns of others anew, at the moment at which the buses were read."""
    clock = itertools.count(1)
    monkeypatch.setattr(Instant, "now", lambda: Instant(next(clock) * 1_000_000_000, 0))
    core = TimedCore()
    made = Service(core, {"can0": LateReader(link), "can1": LateReader(link)}, link, moment)
    link.events = [Arrived(b"grants")]
    made.run(Turns(made, 1))
    at = core.calls[1][1]
    assert core.calls[1:5] == [("frames", at), ("frames", at), ("down", at), ("tick", at)]
    core.calls.clear()
    made.handle({"do": "mode", "mode": "off"})
    (first, _, mode) = core.calls
    assert (mode[0], mode[1], first[1] > at) == ("mode", first[1], True)


def test_what_the_core_asks_is_done(core: FakeCore, link: FakeLink, caplog: pytest.LogCaptureFixture) -> None:
    """Publish goes to the broker, filters to their buses, a bus that is not named hears nothing more."""
    can0, can1 = FakeReader(), FakeReader()
    wanted: tuple[Identifier, ...] = ((0x100, False),)
    core.effects = [Publish(b"envelope"), SetIdentifiers({"can0": wanted}), Note("warning", "said")]
    made = service(core, link, can0=can0, can1=can1)
    made.run(Turns(made, 1))
    assert link.sent == [b"envelope"]
    assert (can0.identifiers, can1.identifiers) == (wanted, ())
    assert "said" in caplog.messages


def test_f15_a_bus_that_fails_stops_no_other(core: FakeCore, link: FakeLink) -> None:
    """Whatever its driver raises: counted by kind, and the other bus is read on."""
    made = service(core, link, can0=FakeReader(RuntimeError("payload 0xdeadbeef")), can1=FakeReader())
    for _ in range(5):
        made.drain()
    assert core.calls == [("frames", 1)] * 5
    assert made.failures == {"bus can0: RuntimeError": 5}


def test_a_disk_that_takes_nothing_is_said_once(
    core: FakeCore, link: FakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """A read-only or full disk: the agent keeps running and counts; the log has one line and no content."""
    failure = sqlite3.OperationalError("attempt to write 17 km/h")
    core.failure = failure
    made = service(core, link, can0=FakeReader())
    for _ in range(5):
        made.drain()
    assert list(made.failures.values()) == [5]
    assert len(caplog.messages) == 1
    assert "17 km/h" not in caplog.text


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_CORRUPT_INDEX, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_IOERR_READ, True),
        (sqlite3.SQLITE_IOERR_WRITE, False),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_READONLY, False),
    ],
)
def test_what_the_disk_has_damaged_ends_the_agent_and_what_it_refuses_does_not(
    core: FakeCore, link: FakeLink, code: int, ends: bool
) -> None:
    """Only a start can put a damaged file aside; what is open is written first, as far as that goes."""
    core.failure = sqlite3.DatabaseError("damaged")
    core.failure.sqlite_errorcode = code
    made = service(core, link)
    made.run(Turns(made, 3))
    assert (made.damaged, "tick" in core.calls) == (ends, not ends)
    assert core.calls[-1] == ("flush", "stop")


def test_f15_an_unexpected_failure_shows_its_kind_only(
    core: FakeCore, link: FakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    core.failure = ValueError("secret reading")
    made = service(core, link, can0=FakeReader())
    made.run(Turns(made, 3))
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_f20_stop_flushes_and_then_gives_the_broker_time(core: FakeCore, link: FakeLink) -> None:
    """What is open is written and handed over before the connection ends and the buses are closed."""
    reader = FakeReader()
    made = service(core, link, can0=reader)
    made.run(Turns(made, 2))
    assert core.calls[-2:] == [("frames", 1), ("flush", "stop")]
    assert link.stopped is not None and link.stopped > 0
    assert reader.closed


class Minutes:
    """A clock that goes on by a drain's interval at each turn, and what systemd was told at which second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.alive_s: list[float] = []
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        monkeypatch.setattr("carnet_agent.service.time", self)
        monkeypatch.setattr("carnet.systemd.notify", self.notify)

    def monotonic(self) -> float:
        return self.now_s

    def notify(self, state: str) -> None:
        if state == "WATCHDOG=1":
            self.alive_s.append(self.now_s - 1000)

    def play(self, made: Service, seconds: float) -> None:
        turns = Turns(made, int(seconds / 0.05))
        step = turns.step

        def passing(timeout_s: float) -> None:
            self.now_s += 0.05
            step(timeout_s)

        turns.step = passing  # type: ignore[method-assign]
        made.run(turns)


def test_systemd_hears_that_we_are_alive_while_everything_moves(
    core: FakeCore, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in the time that it allows."""
    minutes = Minutes(monkeypatch)
    minutes.play(service(core, link, can0=FakeReader()), 300)
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(minutes.alive_s)]
    assert len(gaps_s) == 19
    assert all(14.9 < each < 15.2 for each in gaps_s)


def test_f21_a_hung_broker_thread_ends_in_a_restart(
    core: FakeCore, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop does not speak for it."""
    minutes = Minutes(monkeypatch)
    link.progress_s = minutes.now_s
    minutes.play(service(core, link, can0=FakeReader()), 300)
    assert 30 <= max(minutes.alive_s) < 60


def test_f21_a_core_that_fails_at_everything_ends_in_a_restart(
    core: FakeCore, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that turns and does nothing is not alive."""
    minutes = Minutes(monkeypatch)
    core.failure = RuntimeError("always")
    minutes.play(service(core, link, can0=FakeReader()), 300)
    assert 30 <= max(minutes.alive_s) < 60


def test_a_bus_that_fails_and_a_core_that_fails_at_frames_are_not_worth_a_restart(
    core: FakeCore, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest goes on; what failed is counted."""
    minutes = Minutes(monkeypatch)

    def fails(*_: object) -> Sequence[Effect]:
        raise RuntimeError

    monkeypatch.setattr(core, "on_frames", fails)
    minutes.play(service(core, link, can0=FakeReader(), can1=FakeReader(RuntimeError())), 300)
    assert max(minutes.alive_s) >= 285


def test_systemd_is_told_ready_alive_and_stopping_in_its_own_words(
    core: FakeCore, link: FakeLink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        made = service(core, link)
        made.run(Turns(made, 3))
        said = [manager.recv(4096).decode().split("\n")[0] for _ in range(3)]
    assert said == ["READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_the_local_socket_reads_status_and_sets_the_mode(core: FakeCore, link: FakeLink) -> None:
    made = service(core, link, can0=FakeReader())
    facts = made.handle({"do": "status"})
    assert (facts["running"], facts["mode"], facts["broker"]) == (True, "normal", {"fault": None, "connections": 1})
    assert facts["buses"] == {"can0": {"fault": None, "frames": 7}}
    assert made.handle({"do": "mode", "mode": "off"}) == {"mode": "off"}
    assert made.handle({"do": "ledger"}) == {"sealed": []}
    assert made.handle({"do": "flush"}) == {"flushed": True}
    assert core.calls == [("frames", 1), ("mode", Mode.OFF), ("frames", 1), ("flush", "asked")]


@pytest.mark.parametrize("request_", [{}, {"do": "mode"}, {"do": "mode", "mode": ["off"]}, {"do": "wipe"}, {"do": {}}])
def test_other_requests_are_refused(core: FakeCore, link: FakeLink, request_: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        service(core, link).handle(request_)
    assert core.calls == []


def test_a_request_that_fails_inside_is_an_answer(core: FakeCore, link: FakeLink) -> None:
    """The mode could not be written: the driver hears it, the loop goes on."""
    core.failure = sqlite3.OperationalError("disk I/O error")
    with pytest.raises(UnavailableError):
        service(core, link).handle({"do": "mode", "mode": "off"})
