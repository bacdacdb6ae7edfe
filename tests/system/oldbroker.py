"""A broker of before MQTT 5: a door before a real Mosquitto that turns away who knocks with version 5."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from tests.system.mosquitto import HOST

REFUSALS = {
    "as MQTT 5 says it": bytes([0x20, 0x03, 0x00, 0x84, 0x00]),
    "as MQTT 3.1.1 says it": bytes([0x20, 0x02, 0x00, 0x01]),
    "by hanging up": b"",
}
"""What brokers do to a CONNECT of a version that they do not know: CONNACK 0x84, CONNACK 1, or nothing."""
LEVEL_AT = 8
"""Where the protocol level stands in a CONNECT whose remaining length takes one byte (MQTT 3.1.1 and 5, 3.1.2)."""
MQTT_5 = 5


class OldBroker:
    """Listens on ``port``; ``versions`` are the protocol levels that came, in their order."""

    def __init__(self, behind: int, refusal: bytes) -> None:
        self._behind, self._refusal = behind, refusal
        self._server = socket.create_server((HOST, 0))
        self.port: int = self._server.getsockname()[1]
        self.versions: list[int] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    def _serve(self) -> None:
        # closing the server ends the wait
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._admit, args=(client,), daemon=True).start()

    def _admit(self, client: socket.socket) -> None:
        with client:
            first = client.recv(4096)
            assert first[0] == 0x10 and first[1] < 0x80, "a short CONNECT comes first"
            self.versions.append(first[LEVEL_AT])
            if first[LEVEL_AT] == MQTT_5:
                client.sendall(self._refusal)
                return
            with socket.create_connection((HOST, self._behind)) as broker:
                broker.sendall(first)
                back = threading.Thread(target=_pass_on, args=(broker, client), daemon=True)
                back.start()
                _pass_on(client, broker)
                back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Until either of them ends; then neither waits any longer."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
