"""A small MQTT 5 broker for machines without Mosquitto: development and demonstration, never production.

Law: it listens on loopback only, keeps nothing on disk, and every queue, packet and wait has a limit. What it drops it
counts; nothing of Carnet depends on a broker's memory, because only a signed acknowledgement frees a row on the car.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import mqtt5

from carnet.errors import ConfigError
from carnet.loopback import is_loopback
from carnet_simulator.outqueue import OutQueue, QueueLimits
from carnet_simulator.topicfilter import TopicFilters, matches

Role = Literal["device", "receiver"]

_ACL: Final[dict[Role, tuple[str, str]]] = {
    "device": ("carnet/1/+/{user}/up", "carnet/1/+/{user}/down"),
    "receiver": ("carnet/1/+/+/down", "carnet/1/+/+/up"),
}
"""Role -> (what it may publish to, what it may subscribe to)."""
_CONNACK_V3_REFUSED: Final = b"\x20\x02\x00\x01"
"""MQTT 3.1.1 for "unacceptable protocol version"; a client of that version cannot read any other refusal."""

_CLOSE_S: Final = 1.0
"""How long a client may take to read why it is cut off."""

Disconnect = mqtt5.DisconnectReasonCode
_Answer = mqtt5.ConnAckPacket | mqtt5.SubAckPacket | mqtt5.UnsubAckPacket | mqtt5.PubAckPacket | mqtt5.PingRespPacket


@dataclass(frozen=True, slots=True)
class Account:
    """Who may log in."""

    password: bytes
    role: Role


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the broker."""

    packet_bytes_max: int = 300_000
    """A whole envelope (262,144 bytes) with its topic fits."""
    queue: QueueLimits = field(default_factory=QueueLimits)
    """Of each subscriber."""
    connections_max: int = 1024
    subscriptions_max: int = 256
    """Of one connection; two for each of 128 shards."""
    connect_s: float = 5.0
    """Time from the first byte's chance to a complete CONNECT."""
    keep_alive_s: int = 120
    """Longest keep-alive; a client that asks for more, or for none, gets this."""


@dataclass(slots=True)
class Broker:
    """Connections and subscriptions; without accounts everybody may do everything."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    counters: Counter[str] = field(default_factory=Counter)
    filters: TopicFilters[_Connection] = field(default_factory=TopicFilters)
    clients: dict[str, _Connection] = field(default_factory=dict)
    open_connections: set[_Connection] = field(default_factory=set)

    def __post_init__(self) -> None:
        for user in self.accounts:
            # A wildcard in a name would widen its access list; Mosquitto refuses such names too.
            if not user or set(user) & set("+#/"):
                raise ConfigError("account_name", "a broker's user name is not empty and has no '+', '#' or '/'")

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> asyncio.Server:
        """Start to serve; port 0 lets the system choose. ConfigError ``broker_not_loopback`` for another interface."""
        if not is_loopback(host):
            raise ConfigError(
                "broker_not_loopback", "the development broker serves loopback only: use 127.0.0.1 or ::1"
            )
        return await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)

    def close(self) -> None:
        """Tell every client that the server is going down, and cut the connections."""
        for connection in list(self.open_connections):
            connection.refuse(Disconnect.SERVER_SHUTTING_DOWN)

    def publish(self, sender: _Connection, packet: mqtt5.PublishPacket) -> int:
        """Hand a message to every subscriber; returns their number."""
        found = self.filters.match(packet.topic)
        for connection, option in found.items():
            if connection.queue and not (option.no_local and connection is sender):
                connection.queue.offer(packet, min(int(packet.qos), int(option.max_qos)))
        self.counters["published"] += 1
        return len(found)


class _Connection(asyncio.Protocol):
    """One client. Bytes come in through ``data_received``, packets go out through ``_send``."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._client = ""
        self._account: tuple[str, Role] | None = None
        self._closed = False
        self._keep_alive_s = 0.0
        self.queue: OutQueue | None = None
        self._timer: asyncio.TimerHandle | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._broker.open_connections) >= self._limits.connections_max:
            self._broker.counters["too_many_connections"] += 1
            transport.abort()
            return
        self._broker.open_connections.add(self)
        self._timer = self._loop.call_later(self._limits.connect_s, self._overdue)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._closed = True
        if self._timer:
            self._timer.cancel()
        self._broker.open_connections.discard(self)
        self._broker.filters.remove_all(self)
        if self._broker.clients.get(self._client) is self:
            del self._broker.clients[self._client]

    def pause_writing(self) -> None:
        if self.queue:
            self.queue.pause()

    def resume_writing(self) -> None:
        if self.queue:
            self.queue.resume()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while not self._closed and (size := self._packet_size()):
                packet, _ = mqtt5.read(memoryview(bytes(self._buffer[:size])))
                del self._buffer[:size]
                self._handle(packet)
        except (ValueError, IndexError):
            self._malformed()
        if self.queue and not self._closed:
            self._watch(1.5 * self._keep_alive_s)

    def _packet_size(self) -> int:
        """Size of the first packet once all of it is there, else 0; ValueError for a length that is no length."""
        size, shift = 0, 0
        for position in range(1, min(len(self._buffer), 5)):
            byte = self._buffer[position]
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                size += position + 1
                if size > self._limits.packet_bytes_max:
                    self.refuse(Disconnect.PACKET_TOO_LARGE)
                    return 0
                return size if len(self._buffer) >= size else 0
        if shift == 28:
            raise ValueError
        return 0

    # Time.

    def _watch(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        self.refuse(Disconnect.KEEP_ALIVE_TIMEOUT)

    # Ends.

    def refuse(self, reason: mqtt5.DisconnectReasonCode) -> None:
        """Say why, if the client is far enough to understand it, and cut the connection."""
        if self._closed:
            return
        self._broker.counters[reason.name.lower()] += 1
        if self.queue:
            self._write(mqtt5.DisconnectPacket(reason_code=reason).write())
        self._cut()

    def _cut(self) -> None:
        self._closed = True
        self._transport.close()
        # A peer that does not read would keep the connection, and what waits for it, for ever.
        self._loop.call_later(_CLOSE_S, self._transport.abort)

    def _malformed(self) -> None:
        if self.queue is None and self._buffer[:1] == b"\x10":
            self._write(_CONNACK_V3_REFUSED)
        self.refuse(Disconnect.MALFORMED_PACKET)

    # Packets.

    def _handle(self, packet: mqtt5.Packet) -> None:
        if self.queue is None:
            if isinstance(packet, mqtt5.ConnectPacket):
                self._connect(packet)
            else:
                self.refuse(Disconnect.PROTOCOL_ERROR)
        elif isinstance(packet, mqtt5.PublishPacket):
            self._publish(packet)
        elif isinstance(packet, mqtt5.PubAckPacket):
            self.queue.acknowledged(packet.packet_id)
        elif isinstance(packet, mqtt5.SubscribePacket):
            codes = [self._subscribe(wanted) for wanted in packet.topic_filters]
            self._send(mqtt5.SubAckPacket(packet.packet_id, codes))
        elif isinstance(packet, mqtt5.UnsubscribePacket):
            gone = [self._broker.filters.remove(self, pattern) for pattern in packet.patterns]
            code = mqtt5.UnsubAckReasonCode
            answers = [code.SUCCESS if was else code.NO_SUBSCRIPTION_EXISTED for was in gone]
            self._send(mqtt5.UnsubAckPacket(packet.packet_id, answers))
        elif isinstance(packet, mqtt5.PingReqPacket):
            self._send(mqtt5.PingRespPacket())
        elif isinstance(packet, mqtt5.DisconnectPacket):
            self._cut()
        else:
            self.refuse(Disconnect.PROTOCOL_ERROR)

    def _connect(self, packet: mqtt5.ConnectPacket) -> None:
        refusal = self._log_in(packet)
        if refusal is not None:
            self._broker.counters[refusal.name.lower()] += 1
            self._send(mqtt5.ConnAckPacket(reason_code=refusal))
            self._cut()
            return
        # As our Mosquitto configuration does: who logs in is one client, whatever it calls itself.
        assigned = "" if packet.client_id else f"anonymous-{id(self):x}"
        self._client = packet.username if self._account and packet.username else packet.client_id or assigned
        before = self._broker.clients.get(self._client)
        if before is not None:
            before.refuse(Disconnect.SESSION_TAKEN_OVER)
        self._broker.clients[self._client] = self
        self.queue = OutQueue(
            self._limits.queue,
            self._broker.counters,
            self._write,
            receive_max=packet.receive_max,
            packet_bytes_max=packet.max_packet_size or self._limits.packet_bytes_max,
        )
        asked = packet.keep_alive
        self._keep_alive_s = asked if 0 < asked <= self._limits.keep_alive_s else self._limits.keep_alive_s
        self._broker.counters["connected"] += 1
        self._send(
            mqtt5.ConnAckPacket(
                assigned_client_id=assigned or None,
                session_expiry_interval=0,
                server_keep_alive=None if self._keep_alive_s == asked else int(self._keep_alive_s),
                max_qos=mqtt5.QoS.AT_LEAST_ONCE,
                retain_available=False,
                max_packet_size=self._limits.packet_bytes_max,
                shared_subscription_available=False,
                subscription_id_available=False,
            )
        )

    def _log_in(self, packet: mqtt5.ConnectPacket) -> mqtt5.ConnAckReasonCode | None:
        """Why the client may not come in; None: it may."""
        code = mqtt5.ConnAckReasonCode
        if packet.will is not None:
            return code.IMPLEMENTATION_SPECIFIC_ERROR
        if packet.authentication_method is not None:
            return code.BAD_AUTHENTICATION_METHOD
        if not self._broker.accounts:
            return None
        account = self._broker.accounts.get(packet.username or "")
        if account is None or not hmac.compare_digest(account.password, packet.password or b""):
            return code.BAD_USER_NAME_OR_PASSWORD
        self._account = (packet.username or "", account.role)
        return None

    def _may(self, topic: str, *, publish: bool) -> bool:
        if self._account is None:
            return True
        user, role = self._account
        return matches(_ACL[role][0 if publish else 1].format(user=user), topic)

    def _publish(self, packet: mqtt5.PublishPacket) -> None:
        if packet.retain:
            self.refuse(Disconnect.RETAIN_NOT_SUPPORTED)
        elif int(packet.qos) > 1:
            self.refuse(Disconnect.QOS_NOT_SUPPORTED)
        elif packet.topic_alias is not None:
            self.refuse(Disconnect.TOPIC_ALIAS_INVALID)
        elif set(packet.topic) & set("+#"):
            self.refuse(Disconnect.TOPIC_NAME_INVALID)
        else:
            code = mqtt5.PubAckReasonCode
            if not self._may(packet.topic, publish=True) or packet.topic.startswith("$"):
                self._broker.counters["publish_not_authorized"] += 1
                answer = code.NOT_AUTHORIZED
            else:
                answer = code.SUCCESS if self._broker.publish(self, packet) else code.NO_MATCHING_SUBSCRIBERS
            if packet.packet_id is not None:
                self._send(mqtt5.PubAckPacket(packet.packet_id, reason_code=answer))

    def _subscribe(self, wanted: mqtt5.TopicFilter) -> mqtt5.SubAckReasonCode:
        code = mqtt5.SubAckReasonCode
        if wanted.pattern.startswith("$share/"):
            return code.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if not self._may(wanted.pattern, publish=False):
            self._broker.counters["subscribe_not_authorized"] += 1
            return code.NOT_AUTHORIZED
        if self._broker.filters.count(self) >= self._limits.subscriptions_max:
            return code.QUOTA_EXCEEDED
        self._broker.filters.add(self, wanted)
        return code.GRANTED_QOS_AT_LEAST_ONCE if int(wanted.max_qos) else code.GRANTED_QOS_AT_MOST_ONCE

    def _send(self, packet: _Answer) -> None:
        self._write(packet.write())

    def _write(self, data: bytes) -> None:
        if not self._closed:
            self._transport.write(data)
