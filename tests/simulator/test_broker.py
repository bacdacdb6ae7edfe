"""The development broker, with paho as the client and with raw sockets where no client would behave so badly."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import mqtt5
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from carnet.errors import ConfigError
from carnet_simulator.broker import Account, Broker, Limits
from carnet_simulator.outqueue import QueueLimits

WAIT_S = 5
DEVICE = "abcdefghijklmnopqrstuvwxyz"
UP, DOWN = f"carnet/1/a0/{DEVICE}/up", f"carnet/1/a0/{DEVICE}/down"


class Served:
    """A broker in a thread of its own."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.loop = asyncio.new_event_loop()
        self.port = 0
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(WAIT_S)

    def _run(self, ready: threading.Event) -> None:
        server = self.loop.run_until_complete(self.broker.listen())
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()
        server.close()
        self.broker.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT_S)

    def settle(self) -> None:
        """Wait until the broker has handled what reached it."""
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(WAIT_S)


class Client:
    """paho with queues instead of callbacks."""

    def __init__(self, port: int, name: str, user: str | None = None, password: str = "", **options: Any) -> None:
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.connected: queue.Queue[Any] = queue.Queue()
        self.disconnected: queue.Queue[Any] = queue.Queue()
        self.answers: queue.Queue[list[int]] = queue.Queue()
        self.published: queue.Queue[int] = queue.Queue()
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5, **options)
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_connect = lambda _c, _u, _f, reason, _p: self.connected.put(reason)
        self.paho.on_disconnect = lambda _c, _u, _f, reason, _p: self.disconnected.put(reason)
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, _p: self.answers.put([reason.value for reason in reasons])
        self.paho.on_publish = lambda _c, _u, _m, reason, _p: self.published.put(reason.value)
        if user is not None:
            self.paho.username_pw_set(user, password)
        self.paho.connect("127.0.0.1", port, keepalive=30)
        self.paho.loop_start()
        self.reason = self.connected.get(timeout=WAIT_S)

    def subscribe(self, pattern: str, qos: int = 1, **options: Any) -> int:
        self.paho.subscribe(pattern, options=SubscribeOptions(qos, **options))
        return self.answers.get(timeout=WAIT_S)[0]

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> int:
        self.paho.publish(topic, payload, qos)
        return self.published.get(timeout=WAIT_S)

    def message(self) -> paho.MQTTMessage:
        return self.messages.get(timeout=WAIT_S)

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


Connect = Callable[..., Client]


@pytest.fixture
def broker() -> Iterator[Served]:
    """Without accounts, with short limits."""
    served = Served(
        Broker(limits=Limits(packet_bytes_max=10_000, connect_s=0.2, queue=QueueLimits(messages_max=3, window_max=2)))
    )
    yield served
    served.stop()


@pytest.fixture
def guarded() -> Iterator[Served]:
    """With a device's and a receiver's account."""
    accounts = {DEVICE: Account(b"d", "device"), "worker": Account(b"w", "receiver")}
    served = Served(Broker(accounts=accounts))
    yield served
    served.stop()


@pytest.fixture
def clients() -> Iterator[Connect]:
    """Makes clients and closes them."""
    made: list[Client] = []

    def make(*arguments: Any, **options: Any) -> Client:
        made.append(Client(*arguments, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def raw(port: int, *packets: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), WAIT_S)
    for packet in packets:
        connection.sendall(packet)
    return connection


def rest(connection: socket.socket) -> bytes:
    """What still comes until the broker closes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    connection.close()
    return received


def reason_of_end(received: bytes) -> int:
    """The reason in the DISCONNECT that the bytes end with."""
    packet = None
    while received:
        packet, size = mqtt5.read(memoryview(received))
        received = received[size:]
    assert isinstance(packet, mqtt5.DisconnectPacket)
    return int(packet.reason_code)


CONNECT = mqtt5.ConnectPacket("raw", clean_start=True, keep_alive=30).write()


@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_reaches_its_subscriber(broker: Served, clients: Connect, qos: int) -> None:
    """Byte for byte, in order, with its quality of service."""
    receiver, sender = clients(broker.port, "r"), clients(broker.port, "s")
    assert receiver.subscribe("carnet/1/a0/+/up", qos) == qos
    for payload in (b"", bytes(range(256)), b"x" * 9000):
        sender.publish(UP, payload, qos)
        message = receiver.message()
        assert (message.topic, message.payload, message.qos, message.retain) == (UP, payload, qos, False)


def test_quality_of_service_is_the_lower_of_both(broker: Served, clients: Connect) -> None:
    """A subscriber with 0 gets 0."""
    receiver, sender = clients(broker.port, "r"), clients(broker.port, "s")
    receiver.subscribe("#", 0)
    sender.publish(UP, b"1", 1)
    assert receiver.message().qos == 0


def test_nobody_there_is_said(broker: Served, clients: Connect) -> None:
    """16, no matching subscribers: a success that tells something."""
    assert clients(broker.port, "s").publish(UP, b"1") == 16


def test_unsubscribed_is_silent(broker: Served, clients: Connect) -> None:
    """Also one that overlaps another: each message once."""
    receiver, sender = clients(broker.port, "r"), clients(broker.port, "s")
    receiver.subscribe("carnet/#")
    receiver.subscribe(UP)
    assert sender.publish(UP, b"once") == 0
    assert receiver.message().payload == b"once"
    receiver.paho.unsubscribe(["carnet/#", UP])
    receiver.subscribe("end")
    assert sender.publish(UP, b"never") == 16
    sender.publish("end", b"end")
    assert receiver.message().payload == b"end"


def test_a_client_does_not_hear_itself_if_it_asks(broker: Served, clients: Connect) -> None:
    """MQTT 5's "no local"."""
    client = clients(broker.port, "r")
    client.subscribe("a", noLocal=True)
    client.subscribe("b")
    client.publish("a", b"1")
    client.publish("b", b"2")
    assert client.message().topic == "b"


def test_the_same_client_again_takes_over(broker: Served, clients: Connect) -> None:
    """The older connection is told so."""
    connection = raw(broker.port, CONNECT)
    assert isinstance(mqtt5.read(memoryview(connection.recv(1000)))[0], mqtt5.ConnAckPacket)
    clients(broker.port, "raw")
    assert reason_of_end(rest(connection)) == 0x8E


def test_a_device_has_its_own_two_topics_only(guarded: Served, clients: Connect) -> None:
    """Publishing to another's, or subscribing wider, is refused; as our Mosquitto configuration does."""
    device = clients(guarded.port, "anything", DEVICE, "d")
    other = "z" * 26
    assert device.publish(UP, b"1") == 16
    for topic in (DOWN, f"carnet/1/a0/{other}/up", f"carnet/1/a0/x/{DEVICE}/up", "carnet/1", "$SYS/x"):
        assert device.publish(topic, b"1") == 0x87
    assert device.subscribe(DOWN) == 1
    for pattern in (UP, "#", "carnet/#", "carnet/1/+/+/down", f"carnet/1/a0/{other}/down", f"+/1/a0/{DEVICE}/down"):
        assert device.subscribe(pattern) == 0x87


def test_a_receiver_reads_up_and_writes_down(guarded: Served, clients: Connect) -> None:
    """And nothing else."""
    worker, device = clients(guarded.port, "w", "worker", "w"), clients(guarded.port, "d", DEVICE, "d")
    assert worker.subscribe("carnet/1/a0/+/up") == 1
    assert device.subscribe(DOWN) == 1
    assert device.publish(UP, b"reading") == 0
    assert worker.message().payload == b"reading"
    assert worker.publish(DOWN, b"answer") == 0
    assert device.message().payload == b"answer"
    assert worker.publish(UP, b"forged") == 0x87
    assert worker.subscribe("carnet/1/+/+/down") == 0x87


@pytest.mark.parametrize("user, password", [(DEVICE, "w"), (DEVICE, ""), ("nobody", "d"), (None, "")])
def test_a_wrong_password_stays_outside(guarded: Served, clients: Connect, user: str | None, password: str) -> None:
    """Also no name at all."""
    assert clients(guarded.port, "x", user, password).reason.value == 0x86


def test_who_logs_in_is_one_client(guarded: Served, clients: Connect) -> None:
    """Another client id does not make a second session of the same user."""
    first = clients(guarded.port, "one", DEVICE, "d")
    clients(guarded.port, "two", DEVICE, "d")
    assert first.disconnected.get(timeout=WAIT_S).value == 0x8E


def test_a_slow_subscriber_gets_what_fits_and_the_rest_is_counted(broker: Served, clients: Connect) -> None:
    """Window 2, queue 3: of eight messages three are dropped; nobody else waits."""
    subscribe = mqtt5.SubscribePacket(1, [mqtt5.TopicFilter(UP, max_qos=mqtt5.QoS.AT_LEAST_ONCE)]).write()
    slow = raw(broker.port, CONNECT, subscribe)
    received = b""
    while b"\x90" not in received:
        received += slow.recv(1000)
    sender = clients(broker.port, "s")
    for number in range(8):
        assert sender.publish(UP, b"%d" % number) == 0
    assert broker.broker.counters["dropped"] == 3
    payloads: list[bytes] = []
    data = b""
    while len(payloads) < 5:
        data += slow.recv(1000)
        while data and len(data) >= 2 + data[1]:
            packet, size = mqtt5.read(memoryview(data))
            data = data[size:]
            assert isinstance(packet, mqtt5.PublishPacket) and packet.packet_id
            payloads.append(packet.payload)
            slow.sendall(mqtt5.PubAckPacket(packet.packet_id).write())
    assert payloads == [b"0", b"1", b"2", b"3", b"4"]
    slow.close()


def connected_then(port: int, packet: bytes) -> int:
    """Reason with which the broker ends a connection after this packet."""
    return reason_of_end(rest(raw(port, CONNECT, packet)))


@pytest.mark.parametrize(
    "packet, reason",
    [
        (mqtt5.PublishPacket("a", b"", retain=True).write(), 0x9A),
        (mqtt5.PublishPacket("a", b"", qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=1).write(), 0x9B),
        (mqtt5.PublishPacket("a", b"", topic_alias=1).write(), 0x94),
        (mqtt5.PublishPacket("a", b"x" * 10_000).write(), 0x95),
        (b"\x30\xff\xff\x7f", 0x95),
        (b"\x30\xff\xff\xff\xff\x01", 0x81),
        (b"\x00\x00", 0x81),
        (b"\x30\x02\x00\x05", 0x81),
        (b"\x30\x05\x00\x01#\x00x", 0x90),
        (b"\x30\x04\x00\x00\x00x", 0x81),
        (b"\x36\x00", 0x81),
        (CONNECT, 0x82),
        (mqtt5.PubRelPacket(1).write(), 0x82),
        (mqtt5.PingRespPacket().write(), 0x82),
    ],
)
def test_what_no_client_may_send_ends_the_connection(broker: Served, packet: bytes, reason: int) -> None:
    """With the reason of the standard; the broker lives on."""
    assert connected_then(broker.port, packet) == reason
    assert connected_then(broker.port, packet) == reason


@pytest.mark.parametrize(
    "start",
    [b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\xff", mqtt5.PingReqPacket().write(), b"\x10\x02\x00\x04"],
)
def test_a_connection_that_does_not_begin_with_connect_is_closed(broker: Served, start: bytes) -> None:
    """Nothing but, at most, the old version's refusal is said."""
    assert rest(raw(broker.port, start)) in (b"", b"\x20\x02\x00\x01")
    broker.settle()
    assert not broker.broker.clients


def test_an_mqtt_3_client_is_told_the_version_is_not_supported(broker: Served) -> None:
    """In words of its own version; the codec knows 5 only."""
    connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"
    assert rest(raw(broker.port, connect)) == b"\x20\x02\x00\x01"


@pytest.mark.parametrize("start", [b"", b"\x10", CONNECT[:-1]])
def test_a_half_open_connection_is_closed_in_time(broker: Served, start: bytes) -> None:
    """Silence, half a packet: after ``connect_s`` it is over."""
    assert rest(raw(broker.port, start)) == b""


def test_a_silent_client_is_cut_after_its_keep_alive() -> None:
    """One and a half times what was agreed; who asked for none gets the broker's."""
    served = Served(Broker(limits=Limits(keep_alive_s=0)))
    served.broker.limits = Limits(keep_alive_s=1)
    try:
        connections = []
        for asked in (0, 1, 1000):
            connect = mqtt5.ConnectPacket(f"raw {asked}", keep_alive=asked).write()
            connection = raw(served.port, connect)
            answer, _ = mqtt5.read(memoryview(connection.recv(1000)))
            assert isinstance(answer, mqtt5.ConnAckPacket)
            assert answer.server_keep_alive == (None if asked == 1 else 1)
            connections.append(connection)
        assert [reason_of_end(rest(connection)) for connection in connections] == [0x8D, 0x8D, 0x8D]
    finally:
        served.stop()


def test_packets_may_come_byte_by_byte_or_all_at_once(broker: Served) -> None:
    """The stream has no borders; what comes after a DISCONNECT is nobody's."""
    subscribe = mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a")]).write()
    publish = mqtt5.PublishPacket("a", b"1").write()
    ping, bye = mqtt5.PingReqPacket().write(), mqtt5.DisconnectPacket().write()
    stream = CONNECT + subscribe + publish + ping + bye + b"\xff\xff"
    once = rest(raw(broker.port, stream))
    assert rest(raw(broker.port, *[stream[index : index + 1] for index in range(len(stream))])) == once
    kinds = []
    while once:
        packet, size = mqtt5.read(memoryview(once))
        kinds.append(type(packet).__name__)
        once = once[size:]
    assert kinds == ["ConnAckPacket", "SubAckPacket", "PublishPacket", "PingRespPacket"]


def test_a_will_is_refused_aloud(broker: Served) -> None:
    """Taking it and never publishing it would be worse."""
    connect = mqtt5.ConnectPacket("w", will=mqtt5.Will("a", payload=b"1")).write()
    answer, _ = mqtt5.read(memoryview(rest(raw(broker.port, connect))))
    assert isinstance(answer, mqtt5.ConnAckPacket) and int(answer.reason_code) == 0x83


def test_shared_subscriptions_and_too_many_are_refused(clients: Connect) -> None:
    """Each with its reason."""
    served = Served(Broker(limits=Limits(subscriptions_max=1)))
    try:
        client = clients(served.port, "c")
        assert client.subscribe("$share/g/a") == 0x9E
        assert client.subscribe("a") == 1
        assert client.subscribe("b") == 0x97
    finally:
        served.stop()


def test_connections_have_a_limit() -> None:
    """The one too many is closed at once, the others stay."""
    served = Served(Broker(limits=Limits(connections_max=1)))
    try:
        first = raw(served.port, CONNECT)
        assert first.recv(1000)
        assert rest(raw(served.port, CONNECT)) == b""
        first.sendall(mqtt5.PingReqPacket().write())
        assert first.recv(1000) == mqtt5.PingRespPacket().write()
        first.close()
    finally:
        served.stop()


def test_closing_tells_the_clients() -> None:
    """So that they come back instead of waiting for a keep-alive."""
    served = Served(Broker())
    connection = raw(served.port, CONNECT)
    assert connection.recv(1000)
    served.loop.call_soon_threadsafe(served.broker.close)
    assert reason_of_end(rest(connection)) == 0x8B
    served.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_only_loopback_is_served(host: str) -> None:
    """There is no switch to turn this off."""
    with pytest.raises(ConfigError) as refusal:
        asyncio.run(Broker().listen(host))
    assert refusal.value.reason == "broker_not_loopback"


@pytest.mark.parametrize("name", ["", "+", "#", "a/b"])
def test_a_user_name_is_no_wildcard(name: str) -> None:
    """It would open everybody's topics."""
    with pytest.raises(ConfigError) as refusal:
        Broker(accounts={name: Account(b"", "device")})
    assert refusal.value.reason == "account_name"
