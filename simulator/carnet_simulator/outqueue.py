"""Messages that wait for one subscriber of the development broker.

Law: never more messages or bytes than the limits say, and never more unacknowledged ones than the subscriber allows.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import mqtt5


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Bounds of one subscriber's queue; beyond either of the first two, new messages are dropped and counted."""

    messages_max: int = 1000
    bytes_max: int = 16 << 20
    window_max: int = 64
    """Messages of QoS 1 that are sent and not yet acknowledged."""


class OutQueue:
    """Sends through ``write`` what the subscriber has room for and keeps the rest."""

    def __init__(
        self,
        limits: QueueLimits,
        counters: Counter[str],
        write: Callable[[bytes], None],
        *,
        receive_max: int,
        packet_bytes_max: int,
    ) -> None:
        """``receive_max`` and ``packet_bytes_max``: what the subscriber asked for when it connected."""
        self._limits = limits
        self._counters = counters
        self._write = write
        self._window = min(receive_max, limits.window_max)
        self._packet_bytes_max = packet_bytes_max
        self._waiting: deque[tuple[mqtt5.PublishPacket, int]] = deque()
        self._waiting_bytes = 0
        self._in_flight: set[int] = set()
        self._last_id = 0
        self._paused = False

    def offer(self, packet: mqtt5.PublishPacket, qos: int) -> None:
        """Send a message now or later with this quality of service, or drop it."""
        size = len(packet.payload)
        if len(self._waiting) >= self._limits.messages_max or self._waiting_bytes + size > self._limits.bytes_max:
            self._counters["dropped"] += 1
            return
        self._waiting.append((packet, qos))
        self._waiting_bytes += size
        self._pump()

    def acknowledged(self, packet_id: int) -> None:
        """The subscriber has this one; an unknown number is ignored."""
        self._in_flight.discard(packet_id)
        self._pump()

    def pause(self) -> None:
        """The connection takes no more bytes for now."""
        self._paused = True

    def resume(self) -> None:
        """It does again."""
        self._paused = False
        self._pump()

    def _pump(self) -> None:
        while self._waiting and not self._paused:
            packet, qos = self._waiting[0]
            if qos and len(self._in_flight) >= self._window:
                return
            self._waiting.popleft()
            self._waiting_bytes -= len(packet.payload)
            self._deliver(packet, qos)

    def _deliver(self, packet: mqtt5.PublishPacket, qos: int) -> None:
        packet_id = self._free_id() if qos else None
        data = mqtt5.PublishPacket(
            packet.topic,
            packet.payload,
            qos=mqtt5.QoS(qos),
            packet_id=packet_id,
            payload_format_indicator=packet.payload_format_indicator,
            message_expiry_interval=packet.message_expiry_interval,
            content_type=packet.content_type,
            response_topic=packet.response_topic,
            correlation_data=packet.correlation_data,
            user_properties=packet.user_properties,
        ).write()
        if len(data) > self._packet_bytes_max:
            self._counters["dropped"] += 1
            return
        if packet_id is not None:
            self._in_flight.add(packet_id)
        self._counters["delivered"] += 1
        self._write(data)

    def _free_id(self) -> int:
        """A packet number that is not in flight; the window is far smaller than their number."""
        while True:
            self._last_id = self._last_id % 65_535 + 1
            if self._last_id not in self._in_flight:
                return self._last_id
