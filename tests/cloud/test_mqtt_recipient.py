"""An MQTT topic as a recipient: what a PUBACK means, and that nothing waits anywhere to be sent later."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import mqtt5
import pytest
from pydantic import ValidationError

from carnet_cloud.config import load
from carnet_cloud.lease import LEASE_MS, WRITE_BYTES_MAX, Lease
from carnet_cloud.recipients import Mqtt, Outcome
from carnet_cloud.recipients.mqttconnection import Broker
from carnet_cloud.recipients.opening import open_recipient
from carnet_cloud.recipientsections import MqttRecipient
from tests.cloud.recipientkit import LIMIT_S, NOW_S, End, event, lease, lost_lease, mqtt_end, packets, until
from tests.cloud.test_commands import CONFIG, config

__all__ = ["config"]  # a fixture

TOPIC = "their/events"


@pytest.fixture
def end() -> Iterator[End]:
    with mqtt_end() as found:
        yield found


@contextlib.contextmanager
def sender(end: End) -> Iterator[Mqtt]:
    with contextlib.closing(Mqtt(end.broker, TOPIC, timeout_s=LIMIT_S)) as found:
        yield found


def test_an_event_is_a_cloud_event_to_its_topic(end: End) -> None:
    """In structured mode, as the CloudEvents binding of MQTT 5 says; the broker does not keep it."""
    with sender(end) as adapter:
        assert adapter.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED
    beside = {"topic": TOPIC, "type": "application/cloudevents+json; charset=utf-8", "retain": "False"}
    assert end.got == [(beside, event(1).body)]


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [(0, "confirmed"), (16, "retry"), (128, "retry"), (131, "retry"), (135, "retry"), (144, "retry"), (145, "retry"),
     (151, "retry"), (153, "refused")],
)  # fmt: skip
def test_what_a_puback_means(end: End, reason: int, outcome: str) -> None:
    """Only success is a yes: with 16 nobody was subscribed, and the broker has thrown it away."""
    end.answers = [reason]
    with sender(end) as adapter:
        assert adapter.send(event(1), lease(), NOW_S).value == outcome


def test_an_event_that_the_broker_would_not_take_is_refused_before_a_byte_of_it_is_written() -> None:
    """It would hang up on it, and be called again for ever; smaller ones go on, on the same connection."""
    with mqtt_end(mqtt5.ConnAckPacket(max_packet_size=1000)) as end, sender(end) as adapter:
        outcomes = [adapter.send(event(n, size), lease(), NOW_S) for n, size in enumerate((10, 5000, 10))]
        assert outcomes == [Outcome.CONFIRMED, Outcome.REFUSED, Outcome.CONFIRMED]
        assert end.bodies() == [event(0, 10).body, event(2, 10).body]


def test_a_broker_that_lets_nobody_in_gets_no_event() -> None:
    with mqtt_end(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED)) as end:
        with sender(end) as adapter:
            assert adapter.send(event(1), lease(), NOW_S) is Outcome.RETRY
        assert end.got == []


def test_one_connection_serves_as_long_as_it_lasts(end: End) -> None:
    """And one that the broker has ended meanwhile is seen before the next event, which needs no second try."""
    with sender(end) as adapter:
        for number in range(3):
            assert adapter.send(event(number), lease(), NOW_S) is Outcome.CONFIRMED
        assert end.connections == 1
        end.answers = ["goodbye"]
        assert adapter.send(event(4), lease(), NOW_S) is Outcome.CONFIRMED
        until(lambda: not adapter._link.is_open)
        assert adapter.send(event(5), lease(), NOW_S) is Outcome.CONFIRMED
    assert end.connections == 2


def test_a_lease_that_is_lost_reaches_no_broker(end: End) -> None:
    with sender(end) as adapter:
        assert adapter.send(event(1), lost_lease(), NOW_S) is Outcome.CUT
    assert end.connections == 0


# nothing is kept and sent later


def test_every_connection_begins_clean_and_carries_only_what_is_sent_now() -> None:
    """After a cut in the middle of an event the next connection brings the next event and nothing of the other."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        seen: list[list[mqtt5.Packet]] = []

        def serve() -> None:
            for _ in range(2):
                peer, _ = listening.accept()
                seen.append([])
                with peer, contextlib.suppress(OSError):
                    for packet in packets(peer):
                        seen[-1].append(packet)
                        if isinstance(packet, mqtt5.ConnectPacket):
                            peer.sendall(mqtt5.ConnAckPacket().write())
                        elif isinstance(packet, mqtt5.PublishPacket) and len(seen) > 1:
                            assert packet.packet_id is not None
                            peer.sendall(mqtt5.PubAckPacket(packet.packet_id).write())

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        where = Broker("127.0.0.1", listening.getsockname()[1], "rcp_aaaaaaaaaaaaaaaa")
        with contextlib.closing(Mqtt(where, TOPIC, timeout_s=LIMIT_S)) as adapter:
            under = lease()
            timer = threading.Timer(0.05, under.cut)
            timer.start()
            assert adapter.send(event(1), under, NOW_S) is Outcome.CUT
            assert adapter.send(event(2), lease(), NOW_S) is Outcome.CONFIRMED
        server.join(LIMIT_S)
    first, second = seen
    for connection in (first, second):
        assert isinstance(connection[0], mqtt5.ConnectPacket)
        assert connection[0].clean_start
        assert connection[0].session_expiry_interval == 0
    published = [packet for packet in second if isinstance(packet, mqtt5.PublishPacket)]
    assert [packet.payload for packet in published] == [event(2).body]
    assert not published[0].duplicate


def test_when_a_cut_returns_the_connection_is_gone(end: End) -> None:
    """Also one that was made for an earlier event: no look at the lease is waited for."""
    with sender(end) as adapter:
        assert adapter.send(event(1), lease(), NOW_S) is Outcome.CONFIRMED
        assert adapter._link._connection is not None
        ours = adapter._link._connection._socket
        end.asked.clear()
        end.answers = ["hang"]
        under, outcomes = lease(), list[Outcome]()
        thread = threading.Thread(target=lambda: outcomes.append(adapter.send(event(2), under, NOW_S)), daemon=True)
        thread.start()
        assert end.asked.wait(LIMIT_S)
        under.cut()
        assert ours.fileno() == -1
        thread.join(LIMIT_S)
    assert outcomes == [Outcome.CUT]


@contextlib.contextmanager
def deaf_broker() -> Iterator[tuple[Broker, list[socket.socket]]]:
    """Lets the client in and reads nothing after its CONNECT, with a window of a few kilobytes."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        peers: list[socket.socket] = []

        def serve() -> None:
            peer, _ = listening.accept()
            peers.append(peer)
            peer.recv(4096)
            peer.sendall(mqtt5.ConnAckPacket().write())

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        try:
            yield Broker("127.0.0.1", listening.getsockname()[1], "rcp_aaaaaaaaaaaaaaaa"), peers
        finally:
            server.join(LIMIT_S)
            for peer in peers:
                peer.close()


def test_a_cut_takes_back_what_lies_in_the_sockets_buffer() -> None:
    """A broker that was not reading gets nothing that it had not got by then, and sees a reset, no end."""
    with deaf_broker() as (where, peers), contextlib.closing(Mqtt(where, TOPIC)) as adapter:
        under = lease()
        timer = threading.Timer(0.1, under.cut)
        timer.start()
        assert adapter.send(event(1, 40 * WRITE_BYTES_MAX), under, NOW_S) is Outcome.CUT
        assert received(peers[0]) < 3 * WRITE_BYTES_MAX


@pytest.mark.parametrize("size", [20, 40 * WRITE_BYTES_MAX])
def test_what_another_program_withdraws_is_cut_within_the_lease(size: int) -> None:
    """It cannot reach our lease: it waits for it to run out. Whether we still write or wait for the answer by then."""

    def now_ms() -> float:
        return time.monotonic() * 1000

    with deaf_broker() as (where, peers), contextlib.closing(Mqtt(where, TOPIC)) as adapter:
        started = now_ms()
        under = Lease(b"e", "rec", started, now_ms, lambda: False, math.inf)
        assert adapter.send(event(1, size), under, NOW_S) is Outcome.CUT
        assert now_ms() - started < LEASE_MS
        assert received(peers[0]) < 3 * WRITE_BYTES_MAX


def received(peer: socket.socket) -> int:
    """Bytes that still come; the end is a reset, if anything was still on its way."""
    peer.settimeout(LIMIT_S)
    got: list[bytes] = []
    try:
        got.extend(iter(lambda: peer.recv(65_536), b""))
    except ConnectionResetError:
        return sum(map(len, got))
    assert sum(map(len, got)) < WRITE_BYTES_MAX
    return sum(map(len, got))


# configuration

TABLE = """
[[recipient]]
kind = "mqtt"
id = "rcp_aaaaaaaaaaaaaaaa"
name = "Repair shop"
host = "broker.example"
topic = "their/events"
"""


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ("", "a broker on another machine needs ca_file"),
        ('cert_file = "a.pem"\nkey_file = "a.key"', "a certificate needs ca_file"),
        ('cert_file = "a.pem"', "belong together"),
    ],
)
def test_a_broker_elsewhere_needs_tls(config: Path, more: str, word: str) -> None:
    """Plain MQTT leaves this machine for nobody."""
    config.write_text(CONFIG + TABLE + more)
    with pytest.raises(Exception, match=word):
        load(config)


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "a\0b"])
def test_a_topic_that_is_none_is_refused(topic: str) -> None:
    with pytest.raises(ValidationError):
        MqttRecipient(kind="mqtt", id="rcp_aaaaaaaaaaaaaaaa", name="x", host="::1", topic=topic)


def test_a_file_that_cannot_be_used_is_named_with_its_recipient(config: Path) -> None:
    config.write_text(CONFIG + TABLE + 'ca_file = "nowhere.pem"')
    (section,) = load(config).recipient
    with pytest.raises(Exception, match=r"recipient rcp_a{16}.ca_file: .*nowhere.pem cannot be read"):
        open_recipient(section)
