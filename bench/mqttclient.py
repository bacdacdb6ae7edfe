"""What the MQTT client costs the receiver: ``python bench/mqttclient.py [--messages 3000] [--rounds 5]``.

The product's broker link (paho, with its queue) and a loop over a plain socket with the codec `mqtt5` take the same
messages of 900 bytes, about an envelope of 480 samples, from a real Mosquitto by QoS 1, and answer each with 250
bytes, about an acknowledgement. They take turns. Counted is the CPU time of this process for each message; a process
of its own publishes. Nothing is judged or stored: `bench/receiver.py` has the whole.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mqtt5

from bench.receiver import GROUP_MAX, GROUP_WAIT_S, broker
from bench.rig.measure import machine
from carnet.topics import filter_up, shard_name, topic_down, topic_up
from carnet_cloud.config import MqttSection
from carnet_cloud.mqtt import BrokerLink
from tests.cloud.kit import DEVICE

ENVELOPE, ANSWER = bytes(900), bytes(250)
READ_BYTES = 65_536

Take = Callable[[int, int, Callable[[], None]], float]


def with_paho(port: int, count: int, begin: Callable[[], None]) -> float:
    """CPU seconds for ``count`` messages through the product's link."""
    link = BrokerLink(MqttSection(host="127.0.0.1", port=port), "bench-link")
    link.start()
    if not link.connected.wait(10):
        raise SystemExit("the bench is wrong: no connection")
    begin()
    started, taken = time.process_time(), 0
    while taken < count:
        for _ in (group := link.take(GROUP_MAX, GROUP_WAIT_S)):
            link.publish((topic_down(DEVICE), ANSWER))
        taken += len(group)
    took = time.process_time() - started
    link.stop()
    return took


def with_codec(port: int, count: int, begin: Callable[[], None]) -> float:
    """The same through a socket and the codec alone, in one thread."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(mqtt5.ConnectPacket("bench-codec", clean_start=True, receive_max=65_535).write())
        wanted = mqtt5.TopicFilter(filter_up(shard_name(DEVICE[0])), max_qos=mqtt5.QoS.AT_LEAST_ONCE)
        received = bytearray()
        _packets(connection, received)
        connection.sendall(mqtt5.SubscribePacket(1, [wanted]).write())
        _packets(connection, received)
        begin()
        started, taken = time.process_time(), 0
        while taken < count:
            answers = bytearray()
            for packet in _packets(connection, received):
                if isinstance(packet, mqtt5.PublishPacket):
                    assert packet.packet_id is not None
                    taken += 1
                    answers += mqtt5.PubAckPacket(packet.packet_id).write()
                    answers += mqtt5.PublishPacket(
                        topic_down(DEVICE), ANSWER, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=taken % 65_535 + 1
                    ).write()
            connection.sendall(answers)
        return time.process_time() - started


def _packets(connection: socket.socket, received: bytearray) -> list[mqtt5.Packet]:
    """Every whole packet that has come, at least one."""
    found: list[mqtt5.Packet] = []
    while not found:
        received += connection.recv(READ_BYTES)
        at = 0
        # the codec keeps no view of what it has read, but what is read is cut off only once no view is left
        data = memoryview(bytes(received))
        while True:
            try:
                packet, size = mqtt5.read(data[at:])
            except IndexError:
                break
            found.append(packet)
            at += size
        del received[:at]
    return found


def measure(port: int, count: int, take: Take) -> float:
    """Microseconds of this process for one message."""
    car: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        car.append(subprocess.Popen([sys.executable, __file__, "--publish", str(port), str(count)]))

    took = take(port, count, begin)
    car[0].wait(30)
    return took / count * 1e6


def publish(port: int, count: int) -> int:
    """The other process: sixteen in flight."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench-car", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(16)
    client.connect("127.0.0.1", port)
    client.loop_start()
    last = [client.publish(topic_up(DEVICE), ENVELOPE, qos=1) for _ in range(count)][-1]
    last.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round of 200 messages")
    parser.add_argument("--publish", nargs=2, type=int, metavar=("PORT", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.publish:
        return publish(*options.publish)
    count, rounds = (200, 1) if options.quick else (options.messages, options.rounds)
    with tempfile.TemporaryDirectory() as name:
        process, port = broker(Path(name))
        try:
            found = [(measure(port, count, with_paho), measure(port, count, with_codec)) for _ in range(rounds)]
        finally:
            process.terminate()
            process.wait(10)
    paho_us, codec_us = (statistics.median(each) for each in zip(*found, strict=True))
    print(f"the product's link on paho   {paho_us:6.0f} us a message and its answer")
    print(f"the codec over a socket      {codec_us:6.0f} us, {paho_us / codec_us:.1f} x less")
    figures = {"paho_us": round(paho_us), "codec_us": round(codec_us), "ratio": round(paho_us / codec_us, 2)}
    print(json.dumps({"bench": "mqttclient", **machine(), "messages": count, "rounds": rounds, **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
