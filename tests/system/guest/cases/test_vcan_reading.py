"""What comes out of a real CAN socket: frames, filters, narrowing, drops, stamps."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from carnet_agent.bus.filters import FILTERS_MAX
from carnet_agent.bus.socketcan import CanInterface, SocketReader
from carnet_agent.frames import BRS, EXTENDED, FD
from carnet_agent.instant import Instant
from tests.agent.candatagrams import classic, flexible
from tests.system.guest.vcan import INTERFACE, Peer, transmitted


def test_classic_and_flexible_frames_of_64_bytes_share_a_bus(reader: SocketReader, peer: Peer) -> None:
    peer.send(
        classic(0x123, b"\x01\x02\x03"),
        flexible(0x1ABCDEF0, bytes(range(64)), extended=True, brs=True),
        classic(0x1ABCDEF0, b"\xff" * 8, extended=True),
        classic(0x7FF),
    )
    frames = reader.read(Instant.now())
    assert frames.can_id.tolist() == [0x123, 0x1ABCDEF0, 0x1ABCDEF0, 0x7FF]
    assert frames.flags.tolist() == [0, EXTENDED | FD | BRS, EXTENDED, 0]
    assert frames.length.tolist() == [3, 64, 8, 0]
    assert bytes(frames.payload[1]) == bytes(range(64))


def test_the_kernel_withholds_what_is_not_wanted(reader: SocketReader, peer: Peer) -> None:
    """The reader has no filter of its own, so what it does not count never left the kernel."""
    wanted = [(can_id, False) for can_id in range(0x100, 0x180)] + [(0x200, True)]
    reader.set_identifiers(wanted)
    peer.send(*(classic(can_id) for can_id in range(0x800)))
    peer.send(*(classic(can_id, extended=True) for can_id in range(0x800)))
    peer.send(classic(0x100, remote=True))
    frames = reader.read(Instant.now())
    assert list(zip(frames.can_id.tolist(), (frames.flags & EXTENDED).astype(bool).tolist(), strict=True)) == wanted
    assert (reader.counters.frames, reader.counters.remote_frames) == (len(wanted), 0)


def test_a_reader_without_identifiers_gets_nothing(peer: Peer) -> None:
    reader = SocketReader(CanInterface(INTERFACE), bus=0)
    reader.read(Instant.now())
    peer.send(*[classic(0x100)] * 50)
    assert len(reader.read(Instant.now())) == 0
    assert reader.counters.opened == 1
    reader.close()


def test_parameter_groups_pass_from_every_source(peer: Peer) -> None:
    reader = SocketReader(CanInterface(INTERFACE), bus=0, match="pgn")
    reader.set_identifiers([(0x18FEF1FE, True)])
    reader.read(Instant.now())
    peer.send(*(classic(identifier, extended=True) for identifier in (0x18FEF100, 0x0CFEF121, 0x18FEF200)))
    assert reader.read(Instant.now()).can_id.tolist() == [0x18FEF100, 0x0CFEF121]
    reader.close()


def test_more_than_512_identifiers_all_pass_and_most_others_do_not(reader: SocketReader, peer: Peer) -> None:
    chance = random.Random(7)
    wanted = {(chance.randrange(0x20000000), True) for _ in range(FILTERS_MAX)}
    wanted |= {(can_id, False) for can_id in range(0x300, 0x400)}
    reader.set_identifiers(wanted)
    peer.send(*(classic(can_id, extended=extended) for can_id, extended in sorted(wanted)))
    peer.send(*(classic(chance.randrange(0x20000000), extended=True) for _ in range(1000)))
    frames = reader.read(Instant.now())
    arrived = set(zip(frames.can_id.tolist(), (frames.flags & EXTENDED).astype(bool).tolist(), strict=True))
    assert wanted <= arrived
    assert len(arrived) < len(wanted) + 300


def test_after_a_narrowing_nothing_queued_before_it_is_read(reader: SocketReader, peer: Peer) -> None:
    reader.set_identifiers([(1, False), (2, False)])
    peer.send(*[classic(1), classic(2)] * 1000)
    reader.set_identifiers([(1, False)])
    assert len(reader.read(Instant.now())) == 0
    assert reader.counters.discarded == 2000
    peer.send(classic(2), classic(1))
    assert reader.read(Instant.now()).can_id.tolist() == [1]


def test_drops_are_counted_exactly(peer: Peer) -> None:
    reader = SocketReader(CanInterface(INTERFACE, receive_buffer_bytes=4096), bus=0)
    reader.set_identifiers(None)
    reader.read(Instant.now())
    peer.send(*[classic(1, b"\0" * 8)] * 1000)
    arrived = len(reader.read(Instant.now()))
    peer.send(classic(1))
    arrived += len(reader.read(Instant.now()))
    assert 0 < arrived < 1000
    assert arrived + reader.counters.dropped == 1001
    reader.close()


def test_the_queue_holds_a_second_of_a_full_bus(reader: SocketReader, peer: Peer) -> None:
    peer.send(*[classic(1, b"\0" * 8)] * 8000)
    assert len(reader.read(Instant.now())) == 8000
    assert reader.counters.dropped == 0


def test_stamps_are_the_kernels_and_lie_between_the_drains(reader: SocketReader, peer: Peer) -> None:
    before = Instant.now()
    reader.read(before)
    peer.send(*[classic(1)] * 20)
    after = Instant.now()
    times = reader.read(after).time_ns
    assert before.boot_ns <= times[0] and times[-1] <= after.boot_ns
    assert (np.diff(times) >= 0).all() and len(set(times.tolist())) > 10


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_of_the_clock_between_stamp_and_drain_stays_within_the_drain(
    reader: SocketReader, peer: Peer, step_s: int
) -> None:
    before = Instant.now()
    reader.read(before)
    peer.send(*[classic(1)] * 3)
    time.clock_settime(time.CLOCK_REALTIME, time.time() + step_s)
    after = Instant.now()
    times = reader.read(after).time_ns
    time.clock_settime(time.CLOCK_REALTIME, time.time() - step_s)
    assert ((before.boot_ns <= times) & (times <= after.boot_ns)).all()


def test_a_reader_puts_nothing_on_the_bus(peer: Peer) -> None:
    """Law 7, seen from the bus: only the peer's frame was transmitted."""
    before = transmitted()
    reader = SocketReader(CanInterface(INTERFACE), bus=0)
    for identifiers in ([(1, False)], [(1, False), (2, True)], [(2, True)], None, []):
        reader.set_identifiers(identifiers)
        reader.read(Instant.now())
    peer.send(classic(1))
    reader.read(Instant.now())
    reader.close()
    assert transmitted() == before + 1
