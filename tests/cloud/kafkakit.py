"""A Kafka cluster for the conformance suite: librdkafka's own, behind a proxy that answers as it is told.

The cluster names its brokers in its answers, so the proxy puts an address of its own in their place: another one than
that where a producer finds the cluster first. It reads the length and
kind of every request and looks no further.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from tests.cloud.recipientkit import LIMIT_S, End

TOPIC = "their-events"
PRODUCE, INIT_PRODUCER_ID = 0, 22
TOO_LARGE, NO_LEADER = 10, 6
HOST = "127.0.0.1"


@dataclass
class KafkaEnd(End):
    """``passed``: bytes of the sender that reached the cluster; ``dam``: while it is clear nothing does."""

    passed: int = 0
    dam: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    """The cluster's own."""
    named: tuple[str, int] = ("", 0)
    """Where the cluster says that its broker is; set by `kafka_end` to another port than the one that answers first."""
    kinds: set[int] = field(default_factory=set)
    """Of requests that came through."""
    produced: int = 0
    """Requests with an event."""

    def bodies(self) -> list[bytes]:
        """What lies in the topic, in the order of each partition."""
        at_once = {"enable.partition.eof": True, "fetch.wait.max.ms": 5}
        reader = Consumer({"bootstrap.servers": f"{HOST}:{self.port}", "group.id": "x", **at_once})
        try:
            partitions = reader.list_topics(TOPIC, LIMIT_S).topics[TOPIC].partitions
            reader.assign([TopicPartition(TOPIC, number, 0) for number in partitions])
            found, ended = [], set[int | None]()
            while len(ended) < len(partitions):
                message = reader.poll(LIMIT_S)
                assert message is not None, "the cluster does not answer"
                error = message.error()
                if error is None:
                    found.append(message.value() or b"")
                else:
                    assert error.code() == KafkaError._PARTITION_EOF
                    ended.add(message.partition())
            return found
        finally:
            reader.close()


def brokers(end: End) -> tuple[str, ...]:
    """Where a producer finds the cluster: at the proxy."""
    return (f"{end.address[0]}:{end.address[1]}",)


@contextmanager
def kafka_end() -> Iterator[KafkaEnd]:
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "-", "log_level": 0})
    (broker,) = cluster.list_topics(TOPIC, LIMIT_S).brokers.values()
    end = KafkaEnd(port=broker.port)
    end.dam.set()
    with listener(end, HOST) as end.address, listener(end, HOST) as end.named:
        yield end
        end.over.set()
        end.dam.set()
    del cluster


@contextmanager
def listener(end: KafkaEnd, host: str) -> Iterator[tuple[str, int]]:
    """One more address of the proxy."""
    with socket.socket() as listening:
        # a window of a few kilobytes: what the proxy does not take stays at the sender
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind((host, 0))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                end.connections += 1
                threading.Thread(target=_Line(end, client).run, daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(LIMIT_S)


def place(host: str, port: int) -> bytes:
    """As the cluster's answers have it, but for the length in front of the host."""
    return host.encode() + struct.pack(">i", port)


class _Line:
    """One connection through the proxy."""

    def __init__(self, end: KafkaEnd, client: socket.socket) -> None:
        self._end, self._client = end, client
        self._said: dict[int, str | int] = {}
        """What is to be answered, by correlation id, with the version of the request in front."""

    def run(self) -> None:
        with self._client, contextlib.ExitStack() as stack:
            try:
                broker = stack.enter_context(socket.create_connection((HOST, self._end.port)))
            except ConnectionRefusedError:
                # a client that came back while its test ended, and the cluster with it
                assert self._end.over.is_set()
                return
            answers = threading.Thread(target=self._answers, args=(broker,), daemon=True)
            answers.start()
            with contextlib.suppress(OSError):
                self._requests(broker)
            for each in (self._client, broker):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            answers.join(LIMIT_S)

    def _requests(self, broker: socket.socket) -> None:
        waiting = b""
        while True:
            self._end.dam.wait(LIMIT_S)
            data = self._client.recv(4096)
            if not data:
                return
            self._end.passed += len(data)
            waiting += data
            while len(waiting) >= 12 and len(waiting) >= (size := 4 + struct.unpack(">i", waiting[:4])[0]):
                kind, version, correlation = struct.unpack(">hhi", waiting[4:12])
                self._end.kinds.add(kind)
                if kind == PRODUCE:
                    self._end.produced += 1
                    self._said[correlation] = self._end.answers.pop(0) if self._end.answers else "take"
                    self._version = version
                    self._end.asked.set()
                broker.sendall(waiting[:size])
                waiting = waiting[size:]

    def _answers(self, broker: socket.socket) -> None:
        waiting = b""
        with contextlib.suppress(OSError):
            while data := broker.recv(65_536):
                waiting += data
                while len(waiting) >= 8 and len(waiting) >= (size := 4 + struct.unpack(">i", waiting[:4])[0]):
                    (correlation,) = struct.unpack(">i", waiting[4:8])
                    self._answer(waiting[:size], self._said.pop(correlation, "take"))
                    waiting = waiting[size:]
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _answer(self, packet: bytes, said: str | int) -> None:
        """A packet of the cluster, or what is to stand in its place."""
        if said in ("hang", "drip"):
            for byte in packet[:-1] if said == "drip" else b"":
                self._client.sendall(bytes([byte]))
                if self._end.over.wait(0.2):
                    return
            self._end.over.wait(LIMIT_S)
        elif said == "broken":
            self._client.sendall(b"\x7f\xff no answer of any kind\r\n\r\n")
            self._client.shutdown(socket.SHUT_RDWR)
        elif said == "close":
            self._client.shutdown(socket.SHUT_RDWR)
        else:
            packet = packet.replace(place(HOST, self._end.port), place(*self._end.named))
            if said != "take":
                packet = self._with_error(packet, {"refuse": TOO_LARGE, "busy": NO_LEADER}.get(str(said), said))
            self._client.sendall(packet)

    def _with_error(self, packet: bytes, code: str | int) -> bytes:
        """The cluster's answer to a PRODUCE with another error code: behind topic, number of partitions, partition."""
        name = TOPIC.encode()
        at = packet.index(name) + len(name) + (1 if self._version >= 9 else 4) + 4
        return packet[:at] + struct.pack(">h", int(code)) + packet[at + 2 :]
