"""Where frames may go: virtual buses and this machine, nothing else."""

from __future__ import annotations

import socket

import can
import pytest

from carnet.errors import ConfigError, UnavailableError
from carnet_simulator import bus
from carnet_simulator.bus import CanSender, MulticastSender, NoSender, open_sender, parse_channels
from carnet_simulator.wire import pack_message

FRAME = pack_message(can.Message(arbitration_id=0x18FF5021, data=b"\x01\x02\x03"))


@pytest.mark.parametrize("channel", ["can0", "eth0", "lo", "slcan0", "", "vcan0/../can0", "xvcan0"])
def test_a_bus_that_is_not_virtual_is_refused(channel: str) -> None:
    """The car is never written to, not even by mistake."""
    with pytest.raises(ConfigError) as refusal:
        open_sender("can0", {"can0": channel}, lambda text: None)
    assert refusal.value.reason == "bus_not_virtual"


def test_an_absent_interface_prints_how_to_make_it_and_falls_back() -> None:
    """Two sentences: the exact command, and where the frames go instead."""
    said: list[str] = []
    sender = open_sender("can993", {}, said.append)
    sender.close()
    assert isinstance(sender, MulticastSender)
    assert "ip link add dev vcan993 type vcan && ip link set up vcan993" in said[0]
    assert "udp_multicast" in said[1] and bus.GROUP in said[1] and str(bus.PORT + 993) in said[1]


def test_an_absent_interface_that_was_named_is_no_success() -> None:
    """Somebody reads there, and would hear nothing."""
    with pytest.raises(UnavailableError) as refusal:
        open_sender("can3", {"can3": "vcan993"}, lambda text: None)
    assert refusal.value.reason == "bus_absent"
    assert "ip link add dev vcan993 type vcan && ip link set up vcan993" in str(refusal.value)


def test_multicast_takes_another_port() -> None:
    """Two cars on one machine need not meet."""
    said: list[str] = []
    open_sender("can0", {"can0": "multicast:47113"}, said.append).close()
    assert "port 47113" in said[0]
    for wrong in ("multicast:", "multicast:80", "multicast:x", "multicast:70000"):
        with pytest.raises(ConfigError) as refusal:
            open_sender("can0", {"can0": wrong}, said.append)
        assert refusal.value.reason == "channel_port"


def test_multicast_reaches_a_reader_on_this_machine_and_goes_no_further() -> None:
    """python-can on the other side; the hop limit of 0 keeps it off every wire."""
    port = bus.PORT + 800
    sender = MulticastSender(port)
    with can.Bus(interface="udp_multicast", channel=bus.GROUP, port=port) as reader:
        sender.send(FRAME)
        message = reader.recv(5)
    opened = sender._bus._multicast._socket  # type: ignore[attr-defined]
    assert opened.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 0
    sender.close()
    assert message is not None
    assert (message.arbitration_id, message.is_extended_id, bytes(message.data)) == (0x18FF5021, True, b"\x01\x02\x03")


def test_a_can_socket_gets_the_bytes_as_they_are() -> None:
    """A pair of datagram sockets stands in for a kernel with CAN."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender = CanSender(ours)
    sender.send(FRAME)
    assert theirs.recv(100) == FRAME
    theirs.close()
    with pytest.raises(UnavailableError) as refusal:
        sender.send(FRAME)
    assert refusal.value.reason == "bus_gone"
    sender.close()


def test_channels_are_read_from_the_command_line() -> None:
    """Without a bus it is can0's; once some are named the others are off."""
    assert parse_channels([]) == {}
    assert parse_channels(["vcan7", "can1=off"]) == {"can0": "vcan7", "can1": "off"}
    assert isinstance(open_sender("can1", {"can0": "vcan7"}, lambda text: None), NoSender)


@pytest.mark.parametrize("texts", [["can0=a", "b"], ["can0="], ["=vcan0"], [""]])
def test_a_channel_is_given_once(texts: list[str]) -> None:
    """Two for one bus, or none, is a mistake to be told."""
    with pytest.raises(ConfigError) as refusal:
        parse_channels(texts)
    assert refusal.value.reason == "channel_twice"
