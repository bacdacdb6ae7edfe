"""One party at the broker, step by step: what it asked and what the broker answered. Each call waits for the answer."""

from __future__ import annotations

import queue
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

WAIT_S = 10.0


class BrokerClient:
    """``name`` is the certificate's file in ``place``; None shows no certificate. ``connect`` comes first."""

    def __init__(self, port: int, place: Path, name: str | None, client_id: str = "") -> None:
        self._events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        context = ssl.create_default_context(cafile=place / "ca.pem")
        if name is not None:
            context.load_cert_chain(place / f"{name}.pem", place / f"{name}.key")
        self._client.tls_set_context(context)
        self._client.on_connect = lambda _c, _d, _f, code, _p: self._events.put(("connect", code))
        self._client.on_disconnect = lambda _c, _d, _f, code, _p: self._events.put(("disconnect", code))
        self._client.on_publish = lambda _c, _d, _m, code, _p: self._events.put(("publish", code))
        self._client.on_subscribe = lambda _c, _d, _m, codes, _p: self._events.put(("subscribe", codes[0]))
        self._client.on_message = lambda _c, _d, m: self._events.put(("message", (m.topic, bytes(m.payload))))
        self._port = port

    def connect(self) -> bool:
        """Whether the broker let it in."""
        try:
            self._client.connect("127.0.0.1", self._port)
        except OSError:
            return False
        self._client.loop_start()
        event, code = self._events.get(timeout=WAIT_S)
        return event == "connect" and not code.is_failure

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> int | None:
        """The broker's reason code; None if it cut the connection instead."""
        self._client.publish(topic, payload, qos=1, retain=retain)
        event, code = self._next("publish", "disconnect")
        return code.value if event == "publish" else None

    def subscribe(self, topic: str) -> int:
        """The broker's reason code."""
        self._client.subscribe(topic, qos=1)
        _, code = self._next("subscribe")
        assert isinstance(code, ReasonCode)
        return code.value

    def receive(self) -> tuple[str, bytes]:
        """Topic and payload of the next message."""
        _, message = self._next("message")
        topic, payload = message
        return topic, payload

    def waiting(self) -> list[str]:
        """Kinds of what has come and was not asked for, such as ``message`` or ``disconnect``."""
        kinds = []
        while not self._events.empty():
            kinds.append(self._events.get()[0])
        return kinds

    def _next(self, *kinds: str) -> tuple[str, Any]:
        event, value = self._events.get(timeout=WAIT_S)
        assert event in kinds, f"{event} came before {' or '.join(kinds)}: {value}"
        return event, value

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Self:
        assert self.connect(), "the broker refused the connection"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
