"""A topic of the recipient's own Kafka cluster: one message an event, keyed by its record.

All replicas confirm (``acks=all``), and librdkafka's own retries are idempotent. It writes in threads of its own, so a
message is in its hands only while our lease is good: asked before, and again at least every 100 ms until the delivery
report. A cut takes the message out of its queues, breaks its connections, and ends it with its threads; a producer on
which anything went wrong is never used again (decision 0024). In the clear nothing goes to a cluster that names another
machine, whenever it does.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from carnet.errors import ConfigError
from carnet.loopback import is_loopback
from carnet_cloud.lease import BEGIN_MS, Lease, LeaseOver
from carnet_cloud.recipients.base import Event, Outcome, Trouble
from carnet_cloud.recipients.foreignsockets import MARKS, arm_connections, can_bear, cut_connections

TIMEOUT_S = 15.0
TURN_S = BEGIN_MS / 2000
MESSAGE_BYTES_MAX = 1 << 28
"""The cluster says what is too large for it, not the library."""
HEADERS: list[tuple[str, str | bytes | None]] = [("content-type", b"application/cloudevents+json; charset=utf-8")]
REFUSED = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})
AWAY = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE})
UNREACHABLE = Trouble(
    "unreachable", "none of its brokers answers: look at brokers, and at its log for a login or certificate it refused"
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """``brokers``: ``host:port`` of some; ``login``: librdkafka's own settings for TLS and SASL."""

    brokers: tuple[str, ...]
    login: dict[str, str]

    @property
    def is_private(self) -> bool:
        return "ssl" in self.login.get("security.protocol", "")


class Kafka:
    """Publishes every event to ``topic``."""

    def __init__(self, cluster: Cluster, topic: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._cluster = cluster
        self._topic = topic
        self._timeout_s = timeout_s
        self._open: _Open | None = None
        self.trouble: Trouble | None = None

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:  # noqa: ARG002 - TLS and login say who we are
        """Hand it to the cluster and wait for the delivery report; see `Recipient.send`."""
        outcome, trouble = Outcome.RETRY, None
        try:
            lease.guard()
            if self._open is None:
                self._open = _Open(self._cluster, self._topic, self._timeout_s)
            outcome = self._open.publish(event, lease)
        except LeaseOver:
            outcome = Outcome.CUT
        except KafkaException as error:
            trouble = _trouble(error.args[0])
            refused = error.args[0].code() in REFUSED
            outcome = Outcome.CUT if lease.over else Outcome.REFUSED if refused else Outcome.RETRY
        finally:
            if outcome is not Outcome.CONFIRMED:
                self._drop()
        if outcome is Outcome.RETRY:
            self.trouble = trouble
        return outcome

    def finish(self) -> Outcome:
        """Every report has come by itself."""
        return Outcome.CONFIRMED

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._open is not None:
            self._open.end()
            self._open = None


class _Open:
    """A producer of librdkafka from its beginning to its end."""

    def __init__(self, cluster: Cluster, topic: str, timeout_s: float) -> None:
        self._topic = topic
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._is_cut = False
        self._is_private = cluster.is_private
        self._mark = next(MARKS)
        if not can_bear(self._mark):
            raise ConfigError("kafka_uncut", "the connections of librdkafka cannot be told from others on this system")
        self._producer: Producer | None = Producer(_settings(cluster, timeout_s, self._mark))
        try:
            self._know(timeout_s)
        except BaseException:
            self.end()
            raise

    def publish(self, event: Event, lease: Lease) -> Outcome:
        """LeaseOver and KafkaException: nobody knows; end it."""
        reports: list[KafkaError | None] = []
        lease.on_cut(self.cut)
        if not self._is_private:
            self._know(self._timeout_s)
        lease.guard()
        self._hand_over(event, lease, reports)
        end_s = time.monotonic() + self._timeout_s
        while not reports and time.monotonic() < end_s:
            self._poll()
            if not reports:
                lease.guard()
                self._know_still()
                lease.guard()
        if not reports:
            return Outcome.RETRY
        if reports[0] is not None:
            raise KafkaException(reports[0])
        return Outcome.CONFIRMED

    def cut(self) -> None:
        """From any thread: what is with librdkafka goes nowhere any more."""
        with self._turn:
            self._is_cut = True
            if self._producer is not None:
                self._purge(self._producer)

    def end(self) -> None:
        """When this returns, its threads are gone."""
        with self._turn:
            producer, self._producer = self._producer, None
            if producer is not None:
                self._purge(producer)

    def _hand_over(self, event: Event, lease: Lease, reports: list[KafkaError | None]) -> None:
        """Into librdkafka's hands, and never behind a cut."""
        with self._turn:
            if self._is_cut or self._producer is None:
                raise LeaseOver
            self._producer.produce(
                self._topic,
                event.body,
                key=lease.record,
                headers=HEADERS,
                on_delivery=lambda error, _message: reports.append(error),
            )

    def _poll(self) -> None:
        """Wait a turn for the report. No frame that an error could keep alive holds the producer."""
        assert self._producer is not None
        self._producer.poll(TURN_S)

    def _purge(self, producer: Producer) -> None:
        """Out of its queues, and off its connections: it would let go through what it has begun to write.

        A connection that is purged in the middle of a request it ends by itself: that must not let the rest flow.
        """
        arm_connections(self._mark)
        producer.purge(blocking=False)
        cut_connections(self._mark)

    def _know(self, timeout_s: float) -> None:
        """Ask where librdkafka connects to; ConfigError if that is another machine and there is no TLS."""
        assert self._producer is not None
        named = self._producer.list_topics(self._topic, timeout_s).brokers.values()
        if not self._is_private and not all(is_loopback(broker.host) for broker in named):
            raise ConfigError("kafka_plain", "the cluster names a broker on another machine: it needs ca_file, for TLS")

    def _know_still(self) -> None:
        """Once more while a message waits: librdkafka goes to a new leader only after ``retry.backoff.ms``."""
        if not self._is_private:
            try:
                self._know(TURN_S)
            except KafkaException:
                # nobody says anything new
                return


def _trouble(error: KafkaError) -> Trouble:
    """By the name of the error: its text is the cluster's."""
    if error.code() in AWAY:
        return UNREACHABLE
    name = error.name().lstrip("_")
    return Trouble(f"kafka_{name.lower()}", f"its cluster answers with Kafka's error {name}")


def _settings(cluster: Cluster, timeout_s: float, mark: int) -> dict[str, Any]:
    return {
        **cluster.login,
        "bootstrap.servers": ",".join(cluster.brokers),
        "client.id": "carnet",
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,
        "message.timeout.ms": int(timeout_s * 1000),
        "socket.connection.setup.timeout.ms": max(1000, int(timeout_s * 1000)),
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "socket.send.buffer.bytes": mark,
        # where the brokers are is asked before an event; in between only an error makes librdkafka ask
        "topic.metadata.refresh.interval.ms": -1,
        # one event is under way
        "queue.buffering.max.messages": 1,
        # longer than a turn: what a cut has broken off is ended before it could be tried again
        "retry.backoff.ms": int(3 * TURN_S * 1000),
        "log_level": 0,
    }
