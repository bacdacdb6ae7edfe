"""Recipients' ends on this machine for the conformance suite: each keeps what it got and answers what it is told to.

A word of `WORDS` says how the next event is answered; without one it is taken.
"""

from __future__ import annotations

import base64
import http.server
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import mqtt5

from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.lease import Lease
from carnet_cloud.recipients import Event, Outcome, Recipient
from carnet_cloud.recipients.mqttconnection import Broker
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit

SECRET = "whsec_" + base64.b64encode(b"a secret that both sides know").decode()
NOW_S = 1_760_000_000
LIMIT_S = 30.0
DRIP_S = 0.005
REASONS = {
    int(each): each for each in vars(mqtt5.PubAckReasonCode).values() if isinstance(each, mqtt5.PubAckReasonCode)
}
WORDS = ("refuse", "busy", "hang", "drip", "broken", "close")


def event(number: int, size: int = 20) -> Event:
    name = number.to_bytes(16, "big")
    return Event(name, json.dumps({"id": name.hex(), "pad": "x" * size}).encode())


def lease(*, step_ms: float = 0, renew: Callable[[], bool] = lambda: True) -> Lease:
    """A lease whose clock goes on by ``step_ms`` at every look."""
    times = itertools.count(0, step_ms) if step_ms else itertools.repeat(0.0)
    return Lease(b"e", "rec", 0.0, lambda: float(next(times)), renew)


def lost_lease() -> Lease:
    found = lease()
    found.cut()
    return found


class Looks(Lease):
    """A lease that is cut right before the ``at``-th look at it, from 0: each is a moment of the send."""

    def __init__(self, at: int, then: Callable[[], object] = lambda: None) -> None:
        super().__init__(b"e", "rec", 0.0, lambda: 0.0, lambda: True)
        self.looks, self._at, self._then = 0, at, then

    def guard(self) -> None:
        if self.looks == self._at:
            self.cut()
            self._then()
        self.looks += 1
        super().guard()


def deliver(adapter: Recipient, each: Event, under: Lease | None = None) -> Outcome:
    """A group of one."""
    outcome = adapter.send(each, under or lease(), NOW_S)
    return adapter.finish() if outcome is Outcome.WRITTEN else outcome


def until(true: Callable[[], bool]) -> None:
    """Wait for what happens a moment later; AssertionError if it does not."""
    end_s = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.002)


@dataclass
class End:
    """``got``: every whole event, with what came beside it; ``answers``: words or codes for the next ones."""

    answers: list[str | int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    address: tuple[str, int] = ("127.0.0.1", 0)
    asked: threading.Event = field(default_factory=threading.Event)
    """An event has been answered, or will not be."""
    over: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}/events?x=1"

    @property
    def broker(self) -> Broker:
        return Broker(*self.address, "rcp_aaaaaaaaaaaaaaaa")

    def bodies(self) -> list[bytes]:
        return [body for _, body in self.got]

    def answer(self, sent: socket.socket, opening: bytes) -> str | int:
        """The next answer; what is the same for every kind of end is done here and comes back as ``close``."""
        found = self.answers.pop(0) if self.answers else "take"
        self.asked.set()
        if found in ("hang", "drip"):
            if found == "drip":
                sent.sendall(opening)
            while not self.over.wait(DRIP_S if found == "drip" else LIMIT_S):
                sent.sendall(b"x")
            return "close"
        if found == "broken":
            sent.sendall(b"\x00\xff no answer of any kind\r\n\r\n")
            return "close"
        return found


@contextmanager
def http_end() -> Iterator[End]:
    end = End()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            body = self.rfile.read(size)
            if len(body) < size:
                # the sender was cut: what a real server would see as an aborted request
                self.close_connection = True
                return
            end.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            said = end.answer(self.connection, b"HTTP/1.1 200 OK\r\nX: ")
            if said == "close":
                self.close_connection = True
                return
            status = {"take": 204, "refuse": 410, "busy": 503}.get(str(said))
            self.send_response(status or int(said))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def handle(self) -> None:
            end.connections += 1
            try:
                super().handle()
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    end.address = ("127.0.0.1", server.server_address[1])
    yield end
    end.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def mqtt_end(connack: mqtt5.ConnAckPacket | None = None) -> Iterator[End]:
    """A broker of a few lines, which hands every event to nobody."""
    end = End()
    hello = (connack or mqtt5.ConnAckPacket()).write()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        end.address = listening.getsockname()

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                end.connections += 1
                threading.Thread(target=_one, args=(end, peer, hello), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield end
        end.over.set()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(LIMIT_S)


def _one(end: End, peer: socket.socket, hello: bytes) -> None:
    with peer:
        try:
            for packet in packets(peer):
                if isinstance(packet, mqtt5.ConnectPacket):
                    peer.sendall(hello)
                elif isinstance(packet, mqtt5.PublishPacket) and not _published(end, peer, packet):
                    return
        except OSError:
            return


def _published(end: End, peer: socket.socket, packet: mqtt5.PublishPacket) -> bool:
    end.got.append(
        ({"topic": packet.topic, "type": packet.content_type or "", "retain": str(packet.retain)}, packet.payload)
    )
    assert packet.packet_id is not None
    assert packet.qos == mqtt5.QoS.AT_LEAST_ONCE
    # of a PUBACK with a long reason: its string comes a byte at a time
    said = end.answer(peer, b"\x40\xff\x7f" + packet.packet_id.to_bytes(2, "big") + b"\x00\xf9\x7f\x1f\x3f\x00")
    if said == "close":
        return False
    code = {"take": 0, "goodbye": 0, "refuse": 153, "busy": 151}.get(str(said))
    reason = REASONS[int(said) if code is None else code]
    peer.sendall(mqtt5.PubAckPacket(packet.packet_id, reason_code=reason).write())
    return said != "goodbye"


def packets(peer: socket.socket) -> Iterator[mqtt5.Packet]:
    """What a client sends, packet by packet, to the end of its connection."""
    waiting = b""
    while data := peer.recv(65_536):
        waiting += data
        while True:
            try:
                packet, size = mqtt5.read(memoryview(waiting))
            except IndexError:
                break
            waiting = waiting[size:]
            yield packet


class Way:
    """A cloud whose one recipient is the adapter; what happens is the same in every run."""

    def __init__(self, folder: Path, adapter: Recipient, count: int) -> None:
        self.cloud = Cloud(folder)
        self.unit = Unit()
        self.cloud.enrol(self.unit)
        self.token = self.cloud.give()
        self.cloud.send(self.unit.schema(), *(self.unit.data() for _ in range(count)))
        self.forwarder = self.forwarder_of(adapter)

    def forwarder_of(self, adapter: Recipient, owner: bytes = b"sender01") -> Forwarder:
        cloud = self.cloud
        clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
        ends = {kit.RECIPIENT: adapter}
        return Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, owner)

    def withdraw(self) -> None:
        self.cloud.consents.event(kit.event("withdraw", [self.token], self.cloud.clock.ms), kit.RECORD_ID)

    def outcomes(self) -> dict[str, int]:
        with self.cloud.store.transaction() as t:
            told = [delivery.outcome for delivery in t.outbox.deliveries(kit.RECORD_ID)]
        return {outcome: told.count(outcome) for outcome in sorted(set(told))}
