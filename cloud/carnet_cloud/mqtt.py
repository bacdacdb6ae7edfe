"""Shell: the receiver's connection to the broker. Messages go into a queue; nothing is judged in a callback.

Law: an exception in a callback would end paho's thread unseen, so callbacks only put things down. A receiver is
connected when the broker has granted its subscriptions, not before: one that is deaf must not say that it receives.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Collection

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from carnet import brokertls
from carnet.brokertls import LastWords
from carnet.connecterrors import hung_up, sentence
from carnet.errors import ConfigError
from carnet.limits import MESSAGE_BYTES_MAX
from carnet.logs import told
from carnet.topics import filter_up
from carnet_cloud.answers import Message
from carnet_cloud.config import MqttSection
from carnet_cloud.running.keyfolder import read_secret

QUEUE_MAX = 10_000
QUEUE_BYTES_MAX = 1 << 27
KEEPALIVE_S = 20
POLL_S = 1.0
FLUSH_S_MAX = 1.0
JOIN_S_MAX = 2.0
RETRY_S_FIRST = 0.5
RETRY_S_MAX = 30.0
UNSUPPORTED_VERSION = 132
"""What a CONNACK says to a version that the broker does not speak; paho names that of MQTT 3.1.1 by this number too."""

log = logging.getLogger("carnet.cloud")


class BrokerLink:
    """``take`` gives what came in; ``publish`` sends what a commit has earned.
    Reconnects by itself with full jitter.
    """

    def __init__(self, config: MqttSection, client_id: str) -> None:
        self._config = config
        self._arrived: queue.Queue[Message] = queue.Queue(QUEUE_MAX)
        self.connected = threading.Event()
        self.dropped = 0
        self.failed = 0
        """Connections that could not be made or broke on what the broker sent."""
        self.unanswered = 0
        """Connections that the broker ended without an answer."""
        self._waiting_bytes = 0
        self._turn = threading.Lock()
        self._shards = frozenset(config.shards)
        self._stop = threading.Event()
        self._taking = True
        self._id = client_id
        self._version = MQTTProtocolVersion.MQTTv5
        self._answered = False
        self._unspoken = False
        """The broker says that it does not speak the version of MQTT."""
        self._said: set[str] = set()
        # made once here, so that a wrong key of the configuration is told before anything starts
        self._client = self._make()
        self._delay_s = RETRY_S_FIRST
        self.progress_s = time.monotonic()
        """When the thread last showed that it does not hang."""
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def state(self) -> tuple[bool, int, int]:
        """Whether it is connected, how many messages were dropped, how many connections failed."""
        return self.connected.is_set(), self.dropped, self.failed

    def take(self, limit: int, wait_s: float) -> list[Message]:
        """Up to ``limit`` messages: waits for the first, then gathers what comes within ``wait_s``."""
        messages: list[Message] = []
        try:
            messages.append(self._next(0.5))
        except queue.Empty:
            return messages
        until = time.monotonic() + wait_s
        while len(messages) < limit:
            try:
                messages.append(self._next(max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return messages

    def _next(self, timeout_s: float) -> Message:
        message = self._arrived.get(timeout=timeout_s)
        with self._turn:
            self._waiting_bytes -= len(message[1])
        return message

    def publish(self, message: Message) -> None:
        """QoS 1; what cannot go now is not kept: the car asks again."""
        if self.connected.is_set():
            self._client.publish(message[0], message[1], qos=1)

    def serve(self, shards: Collection[str]) -> None:
        """From now on hear these shards and no others."""
        with self._turn:
            new, gone = sorted(frozenset(shards) - self._shards), sorted(self._shards - frozenset(shards))
            self._shards = frozenset(shards)
            if not self._taking or not self._client.is_connected():
                # the next connection begins with all of them
                return
            if gone:
                self._client.unsubscribe([filter_up(shard) for shard in gone])
            if new:
                self._client.subscribe([(filter_up(shard), 1) for shard in new])

    @property
    def is_empty(self) -> bool:
        """Whether all that has arrived was taken."""
        return self._arrived.empty()

    def stop_taking(self) -> None:
        """Ask the broker for nothing more; what has arrived can still be taken and answered."""
        with self._turn:
            self._taking = False
            if self._shards and self.connected.is_set():
                self._client.unsubscribe([filter_up(shard) for shard in sorted(self._shards)])

    def stop(self) -> None:
        """Disconnect, once what was published has gone to the socket."""
        until = time.monotonic() + FLUSH_S_MAX
        while self.connected.is_set() and self._client.want_write() and time.monotonic() < until:
            time.sleep(0.01)
        self._stop.set()
        self._client.disconnect()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S_MAX)

    def _make(self) -> paho.Client:
        """A client for one connection, in the version of MQTT that the broker is thought to speak."""
        config = self._config
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self._id, protocol=self._version, reconnect_on_failure=False
        )
        # a broker that confirms nothing must not fill the memory
        client.max_queued_messages_set(QUEUE_MAX)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._last_words = LastWords(client)
        if config.username:
            password = (
                read_secret(config.password_file, "mqtt.password_file").decode().strip()
                if config.password_file
                else None
            )
            client.username_pw_set(config.username, password)
        if config.key_file is not None:
            read_secret(config.key_file, "mqtt.key_file")
        if config.ca_file is not None:
            client.tls_set_context(brokertls.context(config.ca_file, config.cert_file, config.key_file))
        return client

    def _run(self) -> None:
        while not self._stop.is_set():
            self.progress_s = time.monotonic()
            try:
                self._connection()
            except ConfigError as error:
                self.failed += 1
                self._say(str(error))
            except Exception as error:  # noqa: BLE001 - a packet that paho chokes on must not leave the service deaf
                self.failed += 1
                self._say(sentence(error))
            self.connected.clear()
            self._stop.wait(self._delay_s * random.random())  # noqa: S311 - jitter, no secret
            self._delay_s = min(RETRY_S_MAX, self._delay_s * 2)

    def _connection(self) -> None:
        """One connection from its beginning to its end."""
        self._client = self._make()
        self._answered = self._unspoken = False
        self._client.connect(self._config.host, self._config.port, keepalive=KEEPALIVE_S)
        if self._stop.is_set():
            # `stop` may have ended the client before this one
            self._client.disconnect()
        while self._client.loop(POLL_S) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.progress_s = time.monotonic()
        if not self._answered and not self._stop.is_set():
            self._other_version()

    def _other_version(self) -> None:
        """It hung up, or does not speak this version of MQTT: the next attempt is made in the other."""
        five = self._version == MQTTProtocolVersion.MQTTv5
        self._version = MQTTProtocolVersion.MQTTv311 if five else MQTTProtocolVersion.MQTTv5
        self.failed += 1
        if self._unspoken:
            self._say(f"it does not speak MQTT {'5' if five else '3.1.1'}; trying {'3.1.1' if five else '5'}")
        else:
            self.unanswered += 1
            self._say(hung_up(self._last_words.alert, tls=self._config.ca_file is not None))

    # callbacks

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, reason: object, _properties: object
    ) -> None:
        value = getattr(reason, "value", 0)
        self._unspoken = value == UNSUPPORTED_VERSION
        self._answered = not self._unspoken
        if value:
            if self._answered:
                self._say(f"it refuses this receiver: {reason}")
            return
        if not self._taking:
            client.disconnect()
            return
        with self._turn:
            if self._shards:
                client.subscribe([(filter_up(shard), 1) for shard in sorted(self._shards)])
            else:
                # nothing to wait for: the first shard comes with `serve`
                self._ready()

    def _on_subscribe(
        self, client: paho.Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self.failed += 1
            self._say("it refuses the subscriptions of this receiver: its access list must let it read every up topic")
            client.disconnect()
            return
        self._ready()

    def _ready(self) -> None:
        self._delay_s = RETRY_S_FIRST
        self.connected.set()

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            place = self._config.host, self._config.port
            log.warning("broker %s:%d: %s (said once)", *place, what, extra=told("broker_trouble"))

    def _on_disconnect(self, *_arguments: object) -> None:
        self.connected.clear()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        size_bytes = len(message.payload)
        with self._turn:
            room = self._waiting_bytes + size_bytes <= QUEUE_BYTES_MAX
            if size_bytes > MESSAGE_BYTES_MAX or not room or self._arrived.full():
                # the broker keeps nothing for us and the car sends again what was not acknowledged
                self.dropped += 1
                return
            self._waiting_bytes += size_bytes
            self._arrived.put_nowait((message.topic, bytes(message.payload)))
