"""The socket reader over datagrams that carry the kernel's structures; the same on real CAN is in tests/system."""

from __future__ import annotations

import ast
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import carnet_agent
from carnet_agent.bus.canframe import SLOT, data_frames
from carnet_agent.bus.filters import kernel_filters
from carnet_agent.bus.opening import BusConfig, open_bus
from carnet_agent.bus.reader import Backoff, BusCounters
from carnet_agent.bus.recvmmsg import Messages
from carnet_agent.bus.socketcan import BATCHES_MAX, PASS_ALL, ROOM, SocketReader, to_boottime
from carnet_agent.frames import BRS, ESI, EXTENDED, FD
from carnet_agent.instant import Instant
from tests.agent.candatagrams import DatagramSource, classic, error, flexible

SECOND_NS = 1_000_000_000


@pytest.fixture
def source() -> Iterator[DatagramSource]:
    with_socket = DatagramSource()
    yield with_socket
    with_socket.close()


@pytest.fixture
def reader(source: DatagramSource) -> Iterator[SocketReader]:
    opened = SocketReader(source, bus=3)
    opened.set_identifiers(None)
    opened.read(Instant.now())
    yield opened
    opened.close()


def test_classic_and_flexible_frames_come_out_in_order_with_their_flags(
    source: DatagramSource, reader: SocketReader
) -> None:
    source.send(
        classic(0x123, b"\x01\x02\x03"),
        flexible(0x1ABCDEF0, bytes(range(64)), extended=True, brs=True),
        classic(0x1ABCDEF0, b"\xff" * 8, extended=True),
        flexible(0x7FF, b"\x09" * 12, esi=True),
    )
    frames = reader.read(Instant.now())
    assert frames.can_id.tolist() == [0x123, 0x1ABCDEF0, 0x1ABCDEF0, 0x7FF]
    assert frames.flags.tolist() == [0, EXTENDED | FD | BRS, EXTENDED, FD | ESI]
    assert frames.length.tolist() == [3, 64, 8, 12]
    assert frames.bus.tolist() == [3, 3, 3, 3]
    assert frames.payload.shape == (4, 64) and frames.payload.flags.c_contiguous
    assert bytes(frames.payload[1]) == bytes(range(64))


def test_classic_frames_alone_take_eight_bytes_each(source: DatagramSource, reader: SocketReader) -> None:
    source.send(classic(0x10, b"\x01\x02\x03\x04\x05\x06\x07\x08"))
    frames = reader.read(Instant.now())
    assert frames.payload.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert [column.dtype.name for column in (frames.can_id, frames.time_ns, frames.payload)] == [
        "uint32",
        "int64",
        "uint8",
    ]


def test_nothing_of_an_earlier_frame_shows_beyond_the_length(source: DatagramSource, reader: SocketReader) -> None:
    """The slots are used again: a reading that nobody may have must not ride in the tail of another frame."""
    source.send(flexible(0x100, b"\xaa" * 64), flexible(0x100, b"\xaa" * 64))
    reader.read(Instant.now())
    garbage = bytearray(classic(0x200, b"\xbb" * 8))
    garbage[4] = 2
    source.send(bytes(garbage), flexible(0x201, b"\xcc" * 8))
    frames = reader.read(Instant.now())
    assert frames.payload[0].tolist() == [0xBB, 0xBB] + [0] * 62
    assert frames.payload[1].tolist() == [0xCC] * 8 + [0] * 56


def test_nothing_shows_beyond_the_length_in_a_block_of_classic_frames(
    source: DatagramSource, reader: SocketReader
) -> None:
    """A driver may leave what it likes behind a short frame's data."""
    padded = bytearray(classic(0x200, b"\xbb" * 8))
    padded[4] = 3
    source.send(bytes(padded))
    assert reader.read(Instant.now()).payload.tolist() == [[0xBB] * 3 + [0] * 5]


def test_f14_error_and_remote_frames_are_counted_and_kept_back(source: DatagramSource, reader: SocketReader) -> None:
    source.send(error(0x40), classic(0x1, b"\x01"), error(0x04), classic(0x2, remote=True), classic(0x3, b"\x03"))
    assert reader.read(Instant.now()).can_id.tolist() == [1, 3]
    counters = reader.counters
    assert (counters.error_frames, counters.bus_off, counters.remote_frames, counters.frames) == (2, 1, 1, 2)


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x01", classic(1, b"x")[:15], classic(1, b"x") + b"\0", flexible(1, b"x") + b"\0" * 200],
    ids=["empty", "byte", "short", "long", "oversized"],
)
def test_a_datagram_that_is_no_frame_is_counted_and_kept_back(
    source: DatagramSource, reader: SocketReader, datagram: bytes
) -> None:
    source.send(datagram, classic(0x7, b"\x07"))
    assert reader.read(Instant.now()).can_id.tolist() == [7]
    assert reader.counters.malformed == 1


def test_an_impossible_length_is_malformed() -> None:
    slots = np.zeros(3, SLOT)
    slots["length"] = [9, 65, 64]
    counters = BusCounters()
    frames = data_frames(slots, np.array([16, 72, 72], np.uint32), np.zeros(3, np.int64), 0, counters)
    assert (len(frames), counters.malformed) == (1, 2)


def test_more_frames_than_one_call_holds_arrive_in_one_drain(source: DatagramSource, reader: SocketReader) -> None:
    count = ROOM * 2 + 17
    source.send(*(classic(index & 0x7FF, index.to_bytes(4, "little")) for index in range(count)))
    frames = reader.read(Instant.now())
    assert frames.payload[:, :4].copy().view("<u4")[:, 0].tolist() == list(range(count))
    assert len(reader.read(Instant.now())) == 0


def test_f14_a_full_queue_loses_frames_and_the_loss_is_counted_exactly() -> None:
    source = DatagramSource(receive_buffer_bytes=8192)
    reader = SocketReader(source, bus=0)
    reader.set_identifiers(None)
    reader.read(Instant.now())
    source.send(*[classic(1, b"\0" * 8)] * 500)
    arrived = len(reader.read(Instant.now()))
    source.send(classic(2))  # the kernel tells of drops with the next frame that it does deliver
    arrived += len(reader.read(Instant.now()))
    assert 0 < arrived < 501
    assert arrived + reader.counters.dropped == 501
    reader.close()
    source.close()


def test_the_drop_counter_may_wrap_at_32_bits(
    source: DatagramSource, reader: SocketReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter([0xFFFFFFF0, 0x00000010, 0x00000010])
    monkeypatch.setattr(Messages, "drops", property(lambda self: next(said)))
    for _ in range(3):
        source.send(classic(1))
        reader.read(Instant.now())
    assert reader.counters.dropped == 0xFFFFFFF0 + 0x20


def test_kernel_stamps_are_carried_to_boottime() -> None:
    now = Instant(boot_ns=50 * SECOND_NS, real_ns=1_700_000_000 * SECOND_NS)
    stamps = np.array([now.real_ns - 30_000_000, now.real_ns - 10], np.int64)
    assert to_boottime(stamps, now, now.boot_ns - 40_000_000).tolist() == [now.boot_ns - 30_000_000, now.boot_ns - 10]


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_step_of_the_clock_moves_a_stamp_by_one_drain_interval_at_most(step_s: int) -> None:
    now = Instant(boot_ns=50 * SECOND_NS, real_ns=1_700_000_000 * SECOND_NS)
    previous = now.boot_ns - 40_000_000
    stepped = np.array([now.real_ns - 20_000_000 + step_s * SECOND_NS], np.int64)
    (time_ns,) = to_boottime(stepped, now, previous)
    assert previous <= time_ns <= now.boot_ns


def test_live_stamps_rise_and_lie_between_the_drains(source: DatagramSource, reader: SocketReader) -> None:
    before = Instant.now()
    reader.read(before)
    source.send(*[classic(1)] * 20)
    after = Instant.now()
    times = reader.read(after).time_ns
    assert (np.diff(times) >= 0).all()
    assert before.boot_ns <= times[0] and times[-1] <= after.boot_ns
    assert len(set(times.tolist())) > 1, "the kernel's own stamps, not the time of the drain"


def test_without_kernel_stamps_the_drain_is_the_time(source: DatagramSource, reader: SocketReader) -> None:
    assert source.opened is not None
    source.opened.setsockopt(socket.SOL_SOCKET, 35, 0)
    source.send(classic(1))
    now = Instant.now()
    assert reader.read(now).time_ns.tolist() == [now.boot_ns]


def test_a_new_reader_is_opened_with_a_filter_that_lets_nothing_through(source: DatagramSource) -> None:
    reader = SocketReader(source, bus=0)
    reader.read(Instant.now())
    assert source.filters == ()
    reader.close()


def test_identifiers_become_the_kernels_filters(source: DatagramSource, reader: SocketReader) -> None:
    assert source.filters == PASS_ALL
    reader.set_identifiers([(0x100, False), (0x100, True)])
    assert source.filters == kernel_filters([(0x100, False), (0x100, True)])


def test_after_a_narrowing_the_queue_is_thrown_away(source: DatagramSource, reader: SocketReader) -> None:
    reader.set_identifiers([(1, False), (2, False)])
    source.send(*[classic(1)] * (ROOM + 5), classic(2))
    reader.set_identifiers([(1, False)])
    assert len(reader.read(Instant.now())) == 0
    assert reader.counters.discarded == ROOM + 6
    source.send(classic(1))
    assert len(reader.read(Instant.now())) == 1


def test_after_a_widening_the_queue_is_kept(source: DatagramSource, reader: SocketReader) -> None:
    reader.set_identifiers([(1, False)])
    source.send(classic(1))
    reader.set_identifiers([(1, False), (2, False)])
    assert len(reader.read(Instant.now())) == 1
    assert reader.counters.discarded == 0


def test_a_filter_that_cannot_be_narrowed_costs_the_socket_not_the_law(
    source: DatagramSource, reader: SocketReader
) -> None:
    reader.set_identifiers([(1, False), (2, False)])
    source.send(classic(2))
    source.refuse = OSError(errno.ENOMEM, "no memory")
    reader.set_identifiers([(1, False)])
    source.refuse = None
    assert len(reader.read(Instant.now())) == 0
    assert source.filters == kernel_filters([(1, False)])
    assert (reader.counters.interrupted, reader.counters.opened) == (1, 2)


def test_f14_a_bus_that_is_absent_is_tried_again_with_back_off(source: DatagramSource) -> None:
    reader = SocketReader(source, bus=0)
    source.refuse = OSError(errno.ENODEV, "no such device")
    for millisecond in range(10_000):
        reader.read(Instant(boot_ns=millisecond * 1_000_000, real_ns=0))
    assert reader.counters.open_failed == 7, "at 0, 0.1, 0.3, 0.7, 1.5, 3.1 and 6.3 s"
    assert reader.fault == "no_such_interface"
    source.refuse = None
    reader.read(Instant(boot_ns=20 * SECOND_NS, real_ns=0))
    assert reader.counters.opened == 1
    assert not reader.fault
    reader.close()


def test_f14_an_interface_that_goes_down_keeps_its_socket_and_one_that_goes_away_does_not(
    source: DatagramSource, reader: SocketReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = OSError(errno.ENETDOWN, "down")

    def receive(messages: Messages, descriptor: int) -> int:
        raise failing

    with monkeypatch.context() as patched:
        patched.setattr(Messages, "receive", receive)
        assert len(reader.read(Instant.now())) == 0
        assert (reader.fault, reader.counters.opened) == ("interface_down", 1)
    source.send(classic(5))
    assert len(reader.read(Instant.now())) == 1
    assert reader.fault is None
    with monkeypatch.context() as patched:
        failing = OSError(errno.ENODEV, "gone")
        patched.setattr(Messages, "receive", receive)
        now = Instant.now()
        assert len(reader.read(now)) == 0
    assert len(reader.read(now)) == 0, "the back-off is not over"
    assert reader.counters.opened == 1
    reader.read(Instant(now.boot_ns + SECOND_NS, now.real_ns + SECOND_NS))
    assert (reader.counters.opened, reader.counters.interrupted) == (2, 2)


def test_f14_a_flood_does_not_hold_the_agents_loop(reader: SocketReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the queue never empty, a drain would still end; the times of the rest stay bounded by the drain before."""
    calls = []

    def receive(messages: Messages, descriptor: int) -> int:
        calls.append(descriptor)
        messages._count = ROOM
        return ROOM

    monkeypatch.setattr(Messages, "receive", receive)
    reader.read(Instant.now())
    assert len(calls) == BATCHES_MAX


def test_a_closed_reader_yields_nothing_and_closes_twice(source: DatagramSource, reader: SocketReader) -> None:
    reader.close()
    reader.close()
    assert len(reader.read(Instant.now())) == 0
    assert reader.counters.opened == 1


def test_opening_socketcan_never_fails_even_where_the_kernel_has_none() -> None:
    reader = open_bus(BusConfig(channel="carnet-none"), bus=0)
    assert len(reader.read(Instant.now())) == 0
    assert reader.counters.open_failed == 1
    assert reader.fault in ("no_such_interface", "no_can_in_kernel", "not_permitted")
    reader.close()


def test_back_off_doubles_to_its_limit_and_forgets_after_success() -> None:
    backoff = Backoff(first_ns=10, most_ns=35)
    due = []
    now = 0
    for _ in range(4):
        backoff.failed(now)
        while not backoff.due(now):
            now += 1
        due.append(now)
    assert due == [10, 30, 65, 100]
    backoff.succeeded()
    assert backoff.due(now)
    backoff.failed(now)
    assert not backoff.due(now + 9) and backoff.due(now + 10)


SENDING = {"send", "sendto", "sendmsg", "sendall", "sendmmsg", "send_periodic", "write", "sendfile"}


BUS = Path(carnet_agent.__file__).with_name("bus")


@pytest.mark.parametrize("path", sorted(BUS.glob("*.py")), ids=lambda path: path.stem)
def test_no_module_of_the_bus_can_write_to_it(path: Path) -> None:
    """Law 7: the car is never written to. Not by care, but because the code has no call that sends."""
    tree = ast.parse(path.read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert not names & SENDING
