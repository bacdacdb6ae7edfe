"""A real interface that goes down, goes away, comes late, or reports errors: the reader keeps running and counts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from carnet_agent.bus.socketcan import CanInterface, SocketReader
from carnet_agent.instant import Instant
from tests.agent.candatagrams import classic, error
from tests.system.guest.vcan import INTERFACE, Peer, ip, wait_until

SECOND_NS = 1_000_000_000
OTHER = "vcan7"


@pytest.fixture
def other() -> Iterator[SocketReader]:
    """A reader of an interface that is not there yet."""
    reader = SocketReader(CanInterface(OTHER), bus=1)
    reader.set_identifiers([(5, False)])
    yield reader
    reader.close()
    subprocess.run(["ip", "link", "del", OTHER], check=False, capture_output=True)


def create() -> None:
    ip("link", "add", "dev", OTHER, "type", "vcan")
    ip("link", "set", OTHER, "up")


def later(seconds: float) -> Instant:
    """A moment after the back-off is over; the reader has no clock but this."""
    now = Instant.now()
    return Instant(now.boot_ns + int(seconds * SECOND_NS), now.real_ns + int(seconds * SECOND_NS))


def test_f14_down_and_up_again_goes_on_with_the_same_socket(reader: SocketReader, peer: Peer) -> None:
    ip("link", "set", INTERFACE, "down")
    assert len(reader.read(Instant.now())) == 0
    assert reader.fault == "interface_down"
    ip("link", "set", INTERFACE, "up")
    peer.close()
    again = Peer()
    again.send(classic(0x42, b"\x01"))
    assert reader.read(Instant.now()).can_id.tolist() == [0x42]
    again.close()
    assert reader.fault is None
    assert (reader.counters.opened, reader.counters.interrupted) == (1, 1)


def test_f14_an_interface_that_is_down_when_opened_is_read_once_it_is_up(other: SocketReader) -> None:
    ip("link", "add", "dev", OTHER, "type", "vcan")
    other.read(Instant.now())
    assert other.fault == "interface_down"
    ip("link", "set", OTHER, "up")
    peer = Peer(OTHER)
    peer.send(classic(5), classic(6))
    assert other.read(Instant.now()).can_id.tolist() == [5]
    peer.close()


def test_f14_an_interface_that_comes_late_or_returns_is_opened_again_with_its_filter(
    other: SocketReader,
) -> None:
    other.read(Instant.now())
    assert (other.fault, other.counters.open_failed) == ("no_such_interface", 1)
    for round_ in (1, 2):
        create()
        other.read(later(20 * round_))
        assert (other.fault, other.counters.opened) == (None, round_)
        peer = Peer(OTHER)
        peer.send(classic(5), classic(6))
        assert other.read(later(20 * round_)).can_id.tolist() == [5]
        peer.close()
        ip("link", "del", OTHER)
        assert len(other.read(later(20 * round_))) == 0
        assert other.fault == "no_such_interface"
    assert other.counters.interrupted == 2


def test_f14_injected_error_frames_are_counted_and_never_yielded(reader: SocketReader) -> None:
    subprocess.run(["cansend", INTERFACE, "20000040#0000000000000000"], check=True)
    wait_until(lambda: len(reader.read(Instant.now())) == 0 and reader.counters.error_frames == 1)
    another = Peer()  # opened now, so that its witness has not seen cansend's frame
    another.send(error(0x04), classic(0x11), classic(0x12, remote=True))
    another.close()
    assert reader.read(Instant.now()).can_id.tolist() == [0x11]
    counters = reader.counters
    assert (counters.error_frames, counters.bus_off, counters.remote_frames) == (2, 1, 1)


def test_f14_a_flood_of_errors_leaves_the_readings_readable(reader: SocketReader, peer: Peer) -> None:
    reader.set_identifiers([(0x20, False)])
    flood = error(0x88)
    for _ in range(20):
        peer.send(*[flood] * 250, classic(0x20, b"\x07"))
        assert reader.read(Instant.now()).can_id.tolist() == [0x20]
    assert reader.counters.error_frames == 5000
    assert reader.counters.dropped == 0
