"""Several receivers as the programs that users run, on one PostgreSQL and one Mosquitto, and cars that send to them.

Law: what the cars sent, what was acknowledged and what the recipient got is known by name, so that nothing can be lost,
doubled or sent too late without being seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from carnet import canonical, jws
from carnet.ack import Ack
from carnet.down import open_down
from carnet.ids import device_text
from carnet.records import sign_record
from carnet.topics import parse_down, topic_up
from carnet_cloud.consents import Consents, Waits
from carnet_cloud.entries import Entries
from carnet_cloud.event import event_id
from carnet_cloud.journal import Journal
from carnet_cloud.lease import Leases
from carnet_cloud.running import keyfolder
from carnet_cloud.store.devices import Device
from carnet_cloud.store.postgres import PostgresStore
from tests import consentkit as kit
from tests.cloud import kit as cloudkit
from tests.cloud.kit import SCHEMA, Unit, readings
from tests.store.backends import OnPostgres
from tests.system.mosquitto import HOST, Mosquitto, free_port

WAIT_S: Final = 30.0
AGAIN_S: Final = 0.5
"""When a car of these tests sends again what nobody has acknowledged; a real one waits for ten seconds."""
PERIOD_S: Final = 0.1
CARS: Final = 8
SECRET: Final = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
OPERATOR: Final = "a-token-that-is-long-enough-for-an-operator"
MAPPING: Final = """
[dbc]
name = "car.dbc"
sha256 = "{zeros}"
[[signal]]
message = "A"
signal = "Odometer"
path = "{odometer}"
unit = "km"
category = "driving"
sensitivity = "low"
[[signal]]
message = "A"
signal = "Speed"
path = "{speed}"
unit = "km/h"
category = "driving"
sensitivity = "personal"
"""
CONFIG: Final = """
[store]
url = "{url}"
journal = "journal/narrowings"
wrapping_keys = "wrapping-keys"
[keys]
folder = "cloud-keys"
[mqtt]
host = "{host}"
port = {mqtt}
[api]
listen = "{host}:{api}"
operator_token_file = "operator.token"
[catalogue]
mappings = ["car.map.toml"]
[[recipient]]
kind = "webhook"
id = "{recipient}"
name = "Workshop"
url = "http://{host}:{webhook}/"
secret_file = "webhook.secret"
"""


def until(happened: Callable[[], bool], what: Callable[[], str] = lambda: "", wait_s: float = WAIT_S) -> float:
    """Wait for it; how many seconds that took."""
    start = time.monotonic()
    while not happened():
        assert time.monotonic() - start < wait_s, f"it did not happen in time {what()}"
        time.sleep(0.01)
    return time.monotonic() - start


class Recipient:
    """A webhook that says yes to everything. ``got``: (time.monotonic() of the head, event id) in order of arrival."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at = time.monotonic()
                self.rfile.read(int(self.headers["content-length"]))
                outer.got.append((at, self.headers["webhook-id"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A connection that was cut: that is what a withdrawal and a kill do."""

        self._server = Server((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class Car:
    """A unit with one record. ``open``: number -> (when published last, envelope) of what nobody acknowledged."""

    unit: Unit
    vehicle: bytes
    record: str
    token: str
    began_ms: int
    events: dict[str, int] = field(default_factory=dict)
    """Id of the event that must come of an envelope -> the envelope's number."""
    open: dict[int, tuple[float, bytes]] = field(default_factory=dict)
    acknowledged: dict[int, float] = field(default_factory=dict)
    """Number -> time.monotonic()."""

    def next(self) -> tuple[int, bytes]:
        """One more envelope of now."""
        gone_ms = time.time_ns() // 1_000_000 - self.began_ms
        self.unit.boot_ms, self.unit.wall_ms = 3_600_000 + gone_ms, self.began_ms + gone_ms
        data = self.unit.data(readings(boot_ms=self.unit.boot_ms), records=(self.record,))
        name = event_id(self.unit.device, self.unit.stream, self.unit.seq, self.record, kit.RECIPIENT)
        self.events[name.hex()] = self.unit.seq
        return self.unit.seq, data


class Cars:
    """All cars over one connection, sending in a thread of their own. What is not acknowledged is sent again."""

    def __init__(self, port: int, cars: Sequence[Car]) -> None:
        self.cars = list(cars)
        self.sending = threading.Event()
        self._over = threading.Event()
        self._turn = threading.Lock()
        self._by_device = {car.unit.device: car for car in cars}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="cars", protocol=paho.MQTTv5)
        self._client.on_message = self._on_message
        self._client.connect(HOST, port)
        self._client.subscribe("carnet/1/+/+/down", 1)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def open(self) -> int:
        """How many envelopes nobody has acknowledged yet."""
        with self._turn:
            return sum(len(car.open) for car in self.cars)

    def begin(self) -> None:
        """The schema of every car, acknowledged, and from then on readings."""
        for car in self.cars:
            self._keep(car, car.unit.seq + 1, car.unit.schema(SCHEMA))
        until(lambda: not self.open())
        self.sending.set()

    def answered_since(self, at: float) -> bool:
        """Whether every car has an answer to something that it made after then."""
        with self._turn:
            return all(any(when > at for when in car.acknowledged.values()) for car in self.cars)

    def _keep(self, car: Car, seq: int, data: bytes) -> None:
        with self._turn:
            car.open[seq] = (time.monotonic(), data)
        self._client.publish(topic_up(car.unit.device), data, qos=1)

    def _run(self) -> None:
        while not self._over.wait(PERIOD_S):
            now = time.monotonic()
            for car in self.cars:
                with self._turn:
                    again = [(seq, data) for seq, (at, data) in car.open.items() if now - at > AGAIN_S]
                for seq, data in again:
                    self._keep(car, seq, data)
                if self.sending.is_set():
                    self._keep(car, *car.next())

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        car = self._by_device[parse_down(message.topic)]
        answer = open_down(bytes(message.payload), car.unit.device, cloudkit.KEYS.public.signing_keys, car.unit.receive)
        if isinstance(answer, Ack):
            now = time.monotonic()
            with self._turn:
                for first, last in answer.ranges:
                    for seq in range(first, last + 1):
                        car.open.pop(seq, None)
                        car.acknowledged.setdefault(seq, now)


class Receivers:
    """``count`` receivers; they end with the test."""

    def __init__(self, folder: Path, place: OnPostgres, broker: Mosquitto, count: int, webhook: int) -> None:
        self.folder = folder
        self.place = place
        self.apis = [free_port() for _ in range(count)]
        self.programs: dict[int, subprocess.Popen[bytes]] = {}
        keyfolder.make(folder / "cloud-keys", os.urandom)
        keyfolder.write_secret(folder / "webhook.secret", SECRET.encode())
        keyfolder.write_secret(folder / "operator.token", OPERATOR.encode())
        names = {"zeros": "0" * 64, "odometer": kit.ODOMETER, "speed": kit.SPEED}
        (folder / "car.map.toml").write_text(MAPPING.format(**names))
        for number, api in enumerate(self.apis):
            names = {"url": place.url, "host": HOST, "recipient": kit.RECIPIENT}
            text = CONFIG.format(**names, mqtt=broker.port, api=api, webhook=webhook)
            (folder / f"cloud-{number}.toml").write_text(text)

    def enrol(self) -> list[Car]:
        """A new store with its cars, each given to the recipient by its owner."""
        now_ms = time.time_ns() // 1_000_000
        store = PostgresStore(self.place.url, incarnation=os.urandom(16), now_ms=now_ms)
        journal = Journal(self.folder / "journal" / "narrowings", store.incarnation, new_store=True)
        waits = Waits(lambda: now_ms, lambda: 0.0, lambda: None)
        # the receivers give the leaves their places when they start
        consents = Consents(store, journal, Leases(), waits, lambda _: None, Entries(os.urandom))
        offer = canonical.encode(kit.offer_document(created_ms=now_ms - kit.DAY_MS))
        with store.transaction() as t:
            t.consents.add_offer(kit.OFFER_ID, kit.TENANT, kit.RECIPIENT, offer, now_ms)
        cars = [self._car(store, consents, offer, number, now_ms) for number in range(CARS)]
        store.close()
        return cars

    def _car(self, store: PostgresStore, consents: Consents, offer: bytes, number: int, now_ms: int) -> Car:
        unit = Unit(device=bytes([number * (256 // CARS) + 5]) + os.urandom(15), stream=os.urandom(8))
        vehicle = os.urandom(16)
        with store.transaction() as t:
            keys = unit.key.public, unit.receive.public
            t.devices.add(Device(unit.device, vehicle, kit.TENANT, 1, *keys, "active"), now_ms)
            t.devices.pin_owner_key(vehicle, 1, jws.thumbprint(kit.OWNER_KEY.public), kit.OWNER_KEY.public)
        record = f"rec_{'abcdefgh'[number] * 16}"
        hour_ago = now_ms - 3_600_000
        times: dict[str, Any] = {"given_ms": hour_ago, "not_before_ms": hour_ago, "expires_ms": now_ms + kit.DAY_MS}
        given = kit.record(offer, id=record, vehicle=device_text(vehicle), **times)
        token = sign_record(given, kit.OWNER_KEY.secret)
        consents.give(token, device_text(vehicle))
        return Car(unit, vehicle, record, token, now_ms)

    def start(self) -> None:
        """All of them; returns when each serves its share."""
        for number in range(len(self.apis)):
            self._start(number)
        self._wait()

    def restart(self, number: int) -> int:
        """SIGTERM, and when it has ended start it again; its exit code. Returns when all serve their share."""
        process = self.programs.pop(number)
        process.terminate()
        code = process.wait(30)
        self._start(number)
        self._wait()
        return code

    def _start(self, number: int) -> None:
        with (self.folder / f"cloud-{number}.log").open("ab") as log:
            command = [sys.executable, "-m", "carnet_cloud", "run", "--config", f"cloud-{number}.toml"]
            self.programs[number] = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def _wait(self) -> None:
        until(lambda: self.shared() == len(self.programs), self.logs)
        until(lambda: all(self.health(number).get("connected") for number in self.programs), self.logs)

    def shared(self) -> int:
        """Among how many receivers all shards are shared; 0 while somebody has none or not all are served."""
        ((receivers, owners, shards),) = self.place.rows(
            "select (select count(*) from receiver), (select count(distinct member) from shard),"
            " (select count(*) from shard)"
        )
        return int(owners) if shards == 256 and receivers == owners else 0

    def kill(self, number: int) -> None:
        """SIGKILL, and gone when this returns."""
        process = self.programs.pop(number)
        process.kill()
        process.wait()

    def health(self, number: int) -> dict[str, Any]:
        try:
            request = urllib.request.Request(f"http://{HOST}:{self.apis[number]}/v1/health")
            request.add_header("Authorization", f"Bearer {OPERATOR}")
            with urllib.request.urlopen(request, timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def withdraw(self, number: int, car: Car) -> dict[str, Any]:
        """Through one of the receivers; nothing more may go out under the record when this returns."""
        now_ms = time.time_ns() // 1_000_000
        body = {"record": car.record, "event": kit.event("withdraw", [car.token], now_ms, record=car.record)}
        request = urllib.request.Request(
            f"http://{HOST}:{self.apis[number]}/v1/events",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))

    def logs(self) -> str:
        return "\n".join((self.folder / f"cloud-{number}.log").read_text()[-1500:] for number in range(len(self.apis)))

    def stop(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        for process in self.programs.values():
            process.terminate()
        return [process.wait(30) for process in self.programs.values()]

    def close(self) -> None:
        for process in self.programs.values():
            process.kill()
            process.wait()


@contextmanager
def keys_of(folder: Path) -> Any:
    """Let the units of `tests.cloud.kit` seal for the cloud whose keys these are."""
    before = cloudkit.KEYS, cloudkit.SEAL
    cloudkit.KEYS = keyfolder.read(folder / "cloud-keys").keys
    (cloudkit.SEAL,) = cloudkit.KEYS.seal.values()
    try:
        yield
    finally:
        cloudkit.KEYS, cloudkit.SEAL = before
