"""One connection to a recipient's MQTT 5 broker: our own socket under a codec without IO.

Law: nothing is kept for later and nothing is sent again here. The lease is asked before every single write, and while
an answer is awaited, for what was written may still lie in the socket's buffer. A connection on which anything went
wrong is reset, never mended.

The codec's codes are no integers, whatever its types say: one that means success is true. They are made integers here.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import mqtt5

from carnet_cloud.lease import BEGIN_MS, WRITE_BYTES_MAX, Lease
from carnet_cloud.recipients.base import Trouble
from carnet_cloud.recipients.cutting import reset

KEEP_ALIVE_S: Final = 60
"""We never ping: a broker that ends an idle connection has its end seen before the next event."""
TURN_S: Final = BEGIN_MS / 2000
"""Longest wait between two looks at the lease: half of what a look is good for."""
ANSWER_BYTES_MAX: Final = 65_536
IN_FLIGHT_MAX: Final = 16
"""Messages of one event without a PUBACK; fewer if the broker says so."""


LOGIN: Final = Trouble("login", "its broker does not let us in: look at username, password_file and the certificate")
KEEPS_NOTHING: Final = Trouble("not_retained", "its broker keeps no message, and what is shown has to be kept there")
WHO: Final = (
    mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD,
    mqtt5.ConnAckReasonCode.NOT_AUTHORIZED,
    mqtt5.ConnAckReasonCode.BAD_AUTHENTICATION_METHOD,
)
"""What a broker says to somebody whom it does not know."""


class BrokenAnswer(Exception):
    """The broker said what it must not, or hung up; ``reason`` is the code of its DISCONNECT, if it sent one."""

    def __init__(self, reason: int = 0) -> None:
        super().__init__(f"the broker broke off ({reason})")
        self.reason = reason


class TooLarge(Exception):
    """The broker has said that it takes no packet of this size."""


class Refused(Exception):
    """The broker does not let us in, or not do what we need; ``trouble`` says which."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.sentence)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Broker:
    """Where it is, as whom we come, and what it is checked with; ``tls`` is None on this machine only."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: bytes | None = None
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What is published with QoS 1; ``content_type`` only with a payload."""

    topic: str
    payload: bytes
    content_type: str | None = None
    retain: bool = False


class Connection:
    """Open from its making to ``cut``; ``lease`` is the one under which the first event goes."""

    def __init__(self, broker: Broker, lease: Lease, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._end_s = time.monotonic() + timeout_s
        self._received = b""
        self._packet_id = 0
        self._socket = _connected(broker, timeout_s)
        try:
            lease.on_cut(self.cut)
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.do_handshake()
            self._socket.settimeout(TURN_S)
            self._log_in(broker, lease)
        except BaseException:
            self.cut()
            raise

    def cut(self) -> None:
        """From any thread, as often as one likes."""
        reset(self._socket)

    @property
    def is_stale(self) -> bool:
        """We have subscribed to nothing: whatever comes unasked is the end."""
        poll = select.poll()
        try:
            poll.register(self._socket, select.POLLIN)
        except ValueError:
            # it was cut
            return True
        return bool(self._received or poll.poll(0))

    def close(self) -> None:
        """Say good-bye, so that the broker does not take it for a failure."""
        try:
            self._socket.send(mqtt5.DisconnectPacket().write())
        except OSError:
            pass
        self._socket.close()

    def exchange(self, messages: Sequence[Message], lease: Lease) -> list[int]:
        """Publish them; the PUBACK's reason of each, in their order.

        LeaseOver, OSError, BrokenAnswer, TooLarge: nobody knows about those without a reason; cut the connection.
        """
        self._end_s = time.monotonic() + self._timeout_s
        lease.on_cut(self.cut)
        if not self._may_retain and any(message.retain for message in messages):
            raise Refused(KEEPS_NOTHING)
        packets = [self._publish(message) for message in messages]
        if any(len(data) > self._packet_bytes_max for _, data in packets):
            raise TooLarge
        reasons: dict[int, int] = {}
        for written, (_, data) in enumerate(packets):
            while written - len(reasons) >= self._in_flight_max:
                self._acknowledged(reasons, lease)
            self._write(data, lease)
        while len(reasons) < len(packets):
            self._acknowledged(reasons, lease)
        if set(reasons) != {packet_id for packet_id, _ in packets}:
            raise BrokenAnswer
        return [reasons[packet_id] for packet_id, _ in packets]

    def _log_in(self, broker: Broker, lease: Lease) -> None:
        connect = mqtt5.ConnectPacket(
            broker.client_id,
            username=broker.username,
            password=broker.password,
            clean_start=True,
            keep_alive=KEEP_ALIVE_S,
            session_expiry_interval=0,
            max_packet_size=ANSWER_BYTES_MAX,
        )
        self._write(connect.write(), lease)
        answer = self._read(lease)
        if not isinstance(answer, mqtt5.ConnAckPacket):
            raise BrokenAnswer
        if int(answer.reason_code):
            raise Refused(_no_entry(answer.reason_code))
        self._packet_bytes_max = answer.max_packet_size or 1 << 28
        self._in_flight_max = min(IN_FLIGHT_MAX, answer.receive_max)
        self._may_retain = answer.retain_available

    def _publish(self, message: Message) -> tuple[int, bytes]:
        self._packet_id = self._packet_id % 65_535 + 1
        packet = mqtt5.PublishPacket(
            message.topic,
            message.payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            retain=message.retain,
            packet_id=self._packet_id,
            payload_format_indicator=1 if message.content_type else 0,
            content_type=message.content_type,
        )
        return self._packet_id, packet.write()

    def _acknowledged(self, reasons: dict[int, int], lease: Lease) -> None:
        """Wait for one PUBACK."""
        answer = self._read(lease)
        if isinstance(answer, mqtt5.DisconnectPacket):
            raise BrokenAnswer(int(answer.reason_code))
        if not isinstance(answer, mqtt5.PubAckPacket) or answer.packet_id in reasons:
            raise BrokenAnswer
        reasons[answer.packet_id] = int(answer.reason_code)

    # bytes

    def _write(self, data: bytes, lease: Lease) -> None:
        """All of it; the lease is asked before every write, and none takes place later than its term."""
        rest = memoryview(data)
        while rest:
            lease.guard()
            try:
                rest = rest[self._socket.send(rest[:WRITE_BYTES_MAX]) :]
            except TimeoutError:
                self._in_time()

    def _read(self, lease: Lease) -> mqtt5.Packet:
        """The next packet of the broker."""
        while True:
            try:
                packet, size = mqtt5.read(memoryview(self._received))
            except IndexError:
                self._receive(lease)
                continue
            except ValueError as error:
                raise BrokenAnswer from error
            self._received = self._received[size:]
            return packet

    def _receive(self, lease: Lease) -> None:
        lease.guard()
        try:
            data = self._socket.recv(ANSWER_BYTES_MAX)
        except TimeoutError:
            self._in_time()
            return
        if not data or len(self._received) > ANSWER_BYTES_MAX:
            raise BrokenAnswer
        self._received += data
        self._in_time()

    def _in_time(self) -> None:
        """However little the broker says at a time, all of it has to come before the end."""
        if time.monotonic() > self._end_s:
            raise TimeoutError


def _connected(broker: Broker, timeout_s: float) -> socket.socket:
    """A connection, with TLS still to be shaken hands on: it has to be cuttable by then."""
    plain = socket.create_connection((broker.host, broker.port), timeout_s)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if broker.tls is None:
        return plain
    return broker.tls.wrap_socket(plain, server_hostname=broker.host, do_handshake_on_connect=False)


def _no_entry(reason: mqtt5.ConnAckReasonCode) -> Trouble:
    if reason in WHO:
        return LOGIN
    return Trouble(f"connack_{int(reason)}", f"its broker refuses the connection with reason code 0x{int(reason):02X}")
