"""Reading through python-can: the same block, only what is wanted, a bounded queue, and an adapter that may fail."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from typing import Any

import can
import numpy as np
import pytest

from carnet_agent.bus.opening import BusConfig, open_bus
from carnet_agent.bus.pythoncan import PythonCanReader, listen_only, open_adapter
from carnet_agent.frames import BRS, EXTENDED, FD
from carnet_agent.instant import Instant

SECOND_NS = 1_000_000_000


class Adapter:
    """An adapter by script: what ``recv`` gives in turn, an exception being raised."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.closed = 0

    def recv(self, timeout: float | None = None) -> can.Message | None:
        if not self.script:
            return None
        given = self.script.pop(0)
        if isinstance(given, Exception):
            raise given
        assert given is None or isinstance(given, can.Message)
        return given

    def shutdown(self) -> None:
        self.closed += 1


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


def message(can_id: int, data: bytes = b"\x01", *, extended: bool = False, **more: Any) -> can.Message:
    return can.Message(arbitration_id=can_id, is_extended_id=extended, data=data, **more)


def reader_of(adapter: Adapter, clock: Clock | None = None, **options: Any) -> PythonCanReader:
    return PythonCanReader(lambda: adapter, bus=2, clock_ns=clock or Clock(), **options)  # type: ignore[arg-type,return-value]


def drained(reader: PythonCanReader, steps: int) -> list[int]:
    for _ in range(steps):
        reader.step()
    return [int(can_id) for can_id in reader.read(Instant(2 * SECOND_NS, 0)).can_id]


def test_messages_become_the_same_columns_as_of_a_socket() -> None:
    reader = reader_of(
        Adapter(
            message(0x123, b"\x01\x02"),
            message(0x1ABCDEF0, bytes(range(64)), extended=True, is_fd=True, bitrate_switch=True),
        )
    )
    reader.set_identifiers(None)
    reader.step()
    reader.step()
    frames = reader.read(Instant(2 * SECOND_NS, 0))
    assert frames.can_id.tolist() == [0x123, 0x1ABCDEF0]
    assert frames.flags.tolist() == [0, EXTENDED | FD | BRS]
    assert frames.length.tolist() == [2, 64]
    assert frames.bus.tolist() == [2, 2]
    assert frames.payload[0].tolist() == [1, 2] + [0] * 62
    assert frames.payload[1].tolist() == list(range(64))
    assert frames.time_ns.tolist() == [SECOND_NS, SECOND_NS]
    assert frames.time_ns.dtype == np.int64


def test_a_new_reader_lets_nothing_through() -> None:
    assert drained(reader_of(Adapter(message(1), message(2))), 2) == []


def test_only_wanted_identifiers_are_queued_and_both_formats_are_told_apart() -> None:
    reader = reader_of(Adapter(message(0x100), message(0x100, extended=True), message(0x101)))
    reader.set_identifiers([(0x100, True)])
    assert drained(reader, 3) == [0x100]
    assert reader.counters.frames == 1


def test_parameter_groups_are_wanted_from_every_source() -> None:
    adapter = Adapter(message(0x18FEF121, extended=True), message(0x18FEF221, extended=True))
    reader = reader_of(adapter, match="pgn")
    reader.set_identifiers([(0x18FEF1FE, True)])
    assert drained(reader, 2) == [0x18FEF121]


def test_error_and_remote_frames_are_counted_and_dropped() -> None:
    adapter = Adapter(
        message(0x40, is_error_frame=True), message(0x4, is_error_frame=True), message(7, b"", is_remote_frame=True)
    )
    reader = reader_of(adapter)
    reader.set_identifiers(None)
    assert drained(reader, 3) == []
    counters = reader.counters
    assert (counters.error_frames, counters.bus_off, counters.remote_frames) == (2, 1, 1)


def test_an_impossible_length_is_malformed() -> None:
    reader = reader_of(Adapter(message(1, b"\0" * 9), message(2, b"\0" * 70, is_fd=True), message(3)))
    reader.set_identifiers(None)
    assert drained(reader, 3) == [3]
    assert reader.counters.malformed == 2


def test_the_queue_is_bounded_and_what_did_not_fit_is_counted() -> None:
    reader = reader_of(Adapter(*(message(index) for index in range(10))), queue_frames_max=6)
    reader.set_identifiers(None)
    assert drained(reader, 10) == [0, 1, 2, 3, 4, 5]
    assert reader.counters.dropped == 4


def test_after_a_narrowing_the_queue_is_thrown_away_and_after_a_widening_kept() -> None:
    reader = reader_of(Adapter(message(1), message(2), message(1)))
    reader.set_identifiers([(1, False), (2, False)])
    reader.step()
    reader.set_identifiers([(1, False), (2, False), (3, False)])
    reader.step()
    assert reader.counters.discarded == 0
    reader.set_identifiers([(1, False)])
    assert drained(reader, 0) == []
    assert reader.counters.discarded == 2
    assert drained(reader, 1) == [1]


def test_an_adapter_that_fails_is_closed_and_opened_again_after_the_back_off() -> None:
    clock = Clock()
    adapter = Adapter(can.CanOperationError("gone"), message(5))
    reader = reader_of(adapter, clock)
    reader.set_identifiers(None)
    reader.step()
    reader.step()
    assert (adapter.closed, reader.counters.interrupted, reader.counters.opened) == (1, 1, 1)
    assert reader.fault == "CanOperationError"
    clock.now_ns += SECOND_NS // 10
    assert drained(reader, 1) == [5]
    assert reader.counters.opened == 2
    assert not reader.fault


def test_an_adapter_that_is_absent_is_tried_again_with_back_off() -> None:
    clock = Clock()
    attempts = []

    def connect() -> can.BusABC:
        attempts.append(clock.now_ns)
        raise OSError("no such port")

    reader = PythonCanReader(connect, bus=0, clock_ns=clock)
    for _ in range(400):
        reader.step()
        clock.now_ns += SECOND_NS // 100
    assert [(at - SECOND_NS) * 10 // SECOND_NS for at in attempts] == [0, 1, 3, 7, 15, 31]
    assert reader.counters.open_failed == 6


class Hanging(Adapter):
    """An adapter whose driver does not return until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.let_go = threading.Event(), threading.Event()

    def recv(self, timeout: float | None = None) -> can.Message | None:
        self.reached.set()
        self.let_go.wait(30)
        return message(1)


def test_a_driver_that_does_not_return_is_counted_once_and_shown_until_it_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody can interrupt it, but a bus that stands still is not called healthy."""
    adapter = Hanging()
    reader = reader_of(adapter).start()
    reader.set_identifiers(None)
    assert adapter.reached.wait(10)
    now = Instant(2 * SECOND_NS, 0)
    for _ in range(200):
        reader.read(now)
    assert (reader.fault, reader.counters.stalled) == (None, 0)
    for _ in range(500):
        reader.read(now)
    assert (reader.fault, reader.counters.stalled) == ("stalled", 1)
    assert [each for each in caplog.messages if "stalled" in each] == [
        "bus 2: stalled: the adapter's driver does not return"
    ]
    adapter.let_go.set()
    arrived = 0
    for _ in range(1000):
        arrived += len(reader.read(now))
        if reader.fault is None and arrived:
            break
        threading.Event().wait(0.01)
    assert (bool(arrived), reader.fault, reader.counters.stalled) == (True, None, 1)
    reader.close()


def test_a_stop_does_not_wait_for_a_driver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carnet_agent.bus.pythoncan.CLOSE_S", 0.01)
    adapter = Hanging()
    reader = reader_of(adapter).start()
    assert adapter.reached.wait(10)
    reader.close()
    assert adapter.closed == 0, "the driver is still in it"
    adapter.let_go.set()


def test_a_thread_that_ended_is_shown_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that nobody thought of must not leave a bus that says it works."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    reader = reader_of(Adapter("no message at all"))
    monkeypatch.setattr(reader, "step", lambda: 1 // 0)
    reader.start()
    for _ in range(300):
        reader.read(Instant(2 * SECOND_NS, 0))
    assert (reader.fault, reader.counters.stalled) == ("stalled", 1)


def test_a_stamp_is_never_later_than_the_drain() -> None:
    reader = reader_of(Adapter(message(1)))
    reader.set_identifiers(None)
    reader.step()
    assert reader.read(Instant(SECOND_NS // 2, 0)).time_ns.tolist() == [SECOND_NS // 2]


def test_a_virtual_bus_is_read_through_its_configuration() -> None:
    reader = open_bus(BusConfig(interface="virtual", channel="carnet-test"), bus=1)
    reader.set_identifiers([(0x321, False)])
    sender = can.Bus(interface="virtual", channel="carnet-test")
    arrived: list[int] = []
    deadline = threading.Event()
    for _ in range(1000):
        sender.send(message(0x320))
        sender.send(message(0x321, b"\x07"))
        arrived = reader.read(Instant.now()).can_id.tolist()
        if arrived:
            break
        deadline.wait(0.01)
    sender.shutdown()
    reader.close()
    reader.close()
    assert set(arrived) == {0x321}
    assert not any(thread.name == "bus-1" for thread in threading.enumerate())


@pytest.mark.parametrize(
    "interface", ["slcan", "pcan", "kvaser", "vector", "cantact", "systec", "nixnet", "seeedstudio"]
)
def test_adapters_are_told_to_listen_only_whatever_the_operator_wrote(
    interface: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(can, "Bus", lambda **options: given.update(options))
    silent = listen_only(interface)
    loud = dict.fromkeys(silent, "loud") | {"bitrate": 500_000}
    open_adapter(interface, "somewhere", loud)()
    assert silent and silent.items() <= given.items()
    assert given["bitrate"] == 500_000


def test_python_can_is_imported_only_when_an_adapter_is_opened() -> None:
    """It costs tens of megabytes, which a unit on SocketCAN never pays."""
    program = "import sys, carnet_agent.bus.opening, carnet_agent.bus.pythoncan; sys.exit('can' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=20).returncode == 0


def test_what_python_can_warns_of_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its drivers repeat messages that they cannot read, and these are frames."""
    logging.getLogger("can").setLevel(logging.NOTSET)
    open_adapter("virtual", "a_bus_of_this_test", {})().shutdown()
    logging.getLogger("can.socketcand").warning("Could not parse ascii message: < frame 123 23.424242 11 22 33 44 >")
    assert caplog.records == []
