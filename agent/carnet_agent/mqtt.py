"""Shell: the unit's connection to its broker. What arrives goes into a queue; nothing is judged in a callback.

Law: the buffer is the session. The broker keeps nothing for us, paho is never handed more than one window, and what was
waiting when a connection ended is forgotten here, because the agent sends it again.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import select
import socket
import ssl
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from carnet.brokertls import LastWords
from carnet.connecterrors import DID_NOT_ANSWER, hung_up, sentence
from carnet.errors import ConfigError
from carnet.ids import device_text
from carnet.limits import MESSAGE_BYTES_MAX
from carnet.logs import told
from carnet.topics import topic_down, topic_up
from carnet_agent import brokerclient
from carnet_agent.knock import UNSUPPORTED_VERSION, refused
from carnet_agent.pahoclient import paho
from carnet_agent.settings import MqttSection

WINDOW: Final = 16
"""Messages handed to paho that the broker has not confirmed."""
OUTGOING_MAX: Final = 256
INCOMING_MAX: Final = 256
KEEPALIVE_S: Final = 20
CONNECT_S_MAX: Final = 15.0
JOIN_S_MAX: Final = 2.0
"""For a thread that looks up a name or connects, which nothing can interrupt; it ends with the process."""
POLL_S: Final = 1.0
RETRY_S_FIRST: Final = 1.0
RETRY_S_MAX: Final = 60.0
OVERHEAD_BYTES: Final = 160
"""More than header, topic and properties of a PUBLISH take."""
RIGHTS: Final = "the certificate must name the device of this pairing, and the broker's list of rights allow it"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Up:
    """The connection stands and the unit's topic is subscribed; ``generation`` rises with each."""

    generation: int


@dataclass(frozen=True, slots=True)
class Down:
    """The connection is gone, and with it everything that the broker had not confirmed."""

    generation: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message for this unit; not checked but for its size."""

    payload: bytes


Event = Up | Down | Arrived


class BrokerLink:
    """One connection after another, in a thread of its own; each a new paho client without a past."""

    def __init__(self, settings: MqttSection, device: bytes) -> None:
        self._settings = settings
        self._device = device
        self._events: queue.Queue[Event] = queue.Queue(INCOMING_MAX)
        self.outgoing: deque[bytes] = deque()
        self._wake, self.woken = socket.socketpair()
        for end in (self._wake, self.woken):
            end.setblocking(False)
        self._version = MQTTProtocolVersion.MQTTv5
        self._generation = 0
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._retry_s = RETRY_S_FIRST
        self.counters: Counter[str] = Counter()
        self.fault: str | None = "not connected yet"
        """Why nothing goes to the broker at present, and what to do; None if all is well."""
        self.connected = threading.Event()
        self.progress_s = time.monotonic()
        """When the thread last showed that it does not hang."""

    # for the service

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def take(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events = []
        with contextlib.suppress(queue.Empty):
            while True:
                events.append(self._events.get_nowait())
        return events

    def send(self, payload: bytes) -> bool:
        """Hand over one message; False if it cannot go now and the agent must ask again."""
        if not self.connected.is_set() or len(self.outgoing) >= OUTGOING_MAX:
            self.counters["not_taken"] += 1
            return False
        self.outgoing.append(payload)
        self._nudge()
        return True

    def stop(self, wait_s: float = 0.0) -> None:
        """Disconnect, after at most ``wait_s`` for the broker to confirm what was handed over."""
        until = time.monotonic() + wait_s
        while self.connected.is_set() and self._unconfirmed() and time.monotonic() < until:
            time.sleep(0.01)
        self.stopping.set()
        self._nudge()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S_MAX)
        self._wake.close()
        self.woken.close()

    # the thread

    def _run(self) -> None:
        while not self.stopping.is_set():
            self.progress_s = time.monotonic()
            try:
                Connection(self, self._settings, self._device, self._version, self._generation + 1).run()
            except ConfigError as error:
                self.trouble("failed_ConfigError", str(error))
            except Exception as error:  # noqa: BLE001  the thread must outlive whatever a broker or a library does
                self.trouble(f"failed_{type(error).__name__}", sentence(error))
            self._ended()
            # full jitter: a thousand units that lost one broker do not come back together
            self.stopping.wait(self._retry_s * random.random())  # noqa: S311
            self._retry_s = min(RETRY_S_MAX, self._retry_s * 2)

    def _ended(self) -> None:
        self.outgoing.clear()
        if self.connected.is_set():
            self.connected.clear()
            self.fault = self.fault or "the connection was lost; it is made again"
            self.put(Down(self._generation))

    def _unconfirmed(self) -> bool:
        return bool(self.outgoing) or self.counters["unconfirmed"] > 0

    def _nudge(self) -> None:
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def put(self, event: Event) -> None:
        """Queue an event; a message that finds the queue full is dropped, since the cloud sends it again."""
        if isinstance(event, Arrived):
            try:
                self._events.put_nowait(event)
            except queue.Full:
                self.count("arrived_dropped")
        else:
            self._events.put(event, timeout=CONNECT_S_MAX)

    def count(self, what: str, words: str = "") -> None:
        """Count, and say the first of a kind; ``words`` where its name does not say what to look at."""
        self.counters[what] += 1
        if self.counters[what] == 1:
            log.warning("broker: %s (said once, counted on)", words or what, extra=told("broker_trouble", what))

    # what a connection reports

    def established(self, generation: int) -> None:
        """A connection may be used from now on."""
        self._generation = generation
        self._retry_s = RETRY_S_FIRST
        self.counters["connections"] += 1
        self.fault = None
        self.connected.set()
        self.put(Up(generation))

    def trouble(self, what: str, words: str) -> None:
        """Count why nothing goes to the broker, and keep the words for `status` until it does."""
        self.fault = words
        self.count(what, words)

    def other_version(self) -> None:
        """The broker did not answer in this version of MQTT; the next attempt is made with the other."""
        five = self._version == MQTTProtocolVersion.MQTTv5
        self._version = MQTTProtocolVersion.MQTTv311 if five else MQTTProtocolVersion.MQTTv5


class Connection:
    """One connection, from connect to its end; lives in the link's thread."""

    def __init__(
        self,
        link: BrokerLink,
        settings: MqttSection,
        device: bytes,
        version: MQTTProtocolVersion,
        generation: int,
    ) -> None:
        self._link = link
        self._settings = settings
        self._topics = topic_up(device), topic_down(device)
        self._generation = generation
        self._inflight: set[int] = set()
        self._size_max = MESSAGE_BYTES_MAX + OVERHEAD_BYTES
        self._answered = False
        self._usable = False
        self._over = False
        self._silent = False
        self._unspoken = False
        """The broker says that it does not speak this version."""
        self._client = brokerclient.make(settings, device_text(device), version)
        self._last_words = LastWords(self._client)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def run(self) -> None:
        """Connect and work until the connection or the link ends; OSError if the broker cannot be reached."""
        link = self._link
        link.counters["unconfirmed"] = 0
        self._client.connect(self._settings.host, self._settings.port, keepalive=KEEPALIVE_S)
        deadline = time.monotonic() + CONNECT_S_MAX
        try:
            while not self._over and not link.stopping.is_set():
                link.progress_s = time.monotonic()
                if not self._usable and link.progress_s > deadline:
                    self._silent = True
                    link.trouble("connect_timeout", DID_NOT_ANSWER)
                    break
                if not self._step():
                    break
        finally:
            if not self._answered and not link.stopping.is_set():
                self._unanswered()
            self._client.disconnect()
            self._client.loop_write()

    def _unanswered(self) -> None:
        """Who hangs up may mean the version or the party: the other version is tried, and both are told."""
        self._link.other_version()
        if self._unspoken:
            self._link.trouble("other_version", "it does not speak this version of MQTT; the other one is tried")
        elif not self._silent:
            tls = self._settings.ca_file is not None
            self._link.trouble("unanswered", hung_up(self._last_words.alert, tls=tls))

    def _step(self) -> bool:
        """Wait for the socket or for something to send; False if the connection has ended."""
        opened = self._client.socket()
        if opened is None:
            return False
        self._hand_over()
        writing = [opened] if self._client.want_write() else []
        waiting = isinstance(opened, ssl.SSLSocket) and opened.pending()
        ready, writable, _ = select.select([opened, self._link.woken], writing, [], 0 if waiting else POLL_S)
        if self._link.woken in ready:
            self._link.woken.recv(4096)
        codes = [self._client.loop_misc()]
        if opened in ready or waiting:
            codes.append(self._client.loop_read())
        if writable:
            codes.append(self._client.loop_write())
        return all(code == MQTTErrorCode.MQTT_ERR_SUCCESS for code in codes)

    def _hand_over(self) -> None:
        outgoing = self._link.outgoing
        while self._usable and outgoing and len(self._inflight) < WINDOW:
            payload = outgoing.popleft()
            if len(payload) + OVERHEAD_BYTES > self._size_max:
                # The broker would end the connection over it, and it would be sent again for ever.
                self._link.count("too_large_for_broker")
                continue
            info = self._client.publish(self._topics[0], payload, qos=1)
            self._inflight.add(info.mid)
            self._link.counters["unconfirmed"] = len(self._inflight)

    # callbacks: paho calls them inside `_step`

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, reason: object, properties: object
    ) -> None:
        value = getattr(reason, "value", 0)
        self._unspoken = value == UNSUPPORTED_VERSION
        self._answered = not self._unspoken
        if value:
            if self._answered:
                self._link.trouble(f"refused_{value}", refused(reason))
            self._over = True
            return
        self._size_max = min(self._size_max, getattr(properties, "MaximumPacketSize", self._size_max))
        client.subscribe(self._topics[1], qos=1)

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._link.trouble("subscription_refused", f"it lets this unit read no answers; {RIGHTS}")
            self._over = True
            return
        self._usable = True
        self._link.established(self._generation)

    def _on_publish(self, _client: paho.Client, _data: object, mid: int, reason: object, _properties: object) -> None:
        self._inflight.discard(mid)
        self._link.counters["unconfirmed"] = len(self._inflight)
        self._link.counters["confirmed"] += 1
        if getattr(reason, "is_failure", False):
            self._link.trouble("publish_refused", f"it takes nothing that this unit sends: {reason}; {RIGHTS}")
        else:
            self._link.fault = None

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if len(message.payload) > MESSAGE_BYTES_MAX:
            self._link.count("arrived_too_large")
        else:
            self._link.put(Arrived(bytes(message.payload)))

    def _on_disconnect(self, *_arguments: object) -> None:
        self._over = True
