"""No plaintext, VIN or key in buffer, WAL, broker store, cloud store, outbox, journal, topics and logs.

A car sends readings that stand out, its owner grants them under a reference that stands out, everything runs as real
programs, and these are killed in the middle, so that what lay in logs and write-ahead logs still lies there. Then every
file is searched for readings, VIN, reference, vehicle and keys, in many spellings.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import can
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from carnet.box import open_box
from carnet.envelope import parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import Error
from carnet.ids import device_bytes
from carnet_cloud.running import keyfolder
from carnet_cloud.wrapping import Wrapping
from tests.system.markers import Marker, of_bytes, of_number, of_text, search
from tests.system.mosquitto import HOST, PLAIN, Mosquitto, free_port
from tests.system.road import GROUP, OFFER, VEHICLE, Road, until

VIN: Final = "WCARNETMARKZQXJVK"
REFERENCE: Final = "policy Zaunkoenig-55901"
ODOMETER, LATITUDE = "Vehicle.TraveledDistance", "Vehicle.CurrentLocation.Latitude"
VIN_PATHS = [f"Vehicle.Private.can0.carnet_demo.Identification.VinCharacters{part}" for part in (1, 2, 3)]
DISTANCE_M: Final = 3_282_563_422
LATITUDE_RAW: Final = 760_367_949
ODOMETER_FRAME = DISTANCE_M.to_bytes(4, "little") + (3_141_592_653).to_bytes(4, "little")
POSITION_FRAME = LATITUDE_RAW.to_bytes(4, "big") + (1_618_033_988).to_bytes(4, "big")
INSURER: Final = "rcp_iiiiiiiiiiiiiiii"
BODY_BYTES_MIN: Final = 12
"""Shorter bodies could be in ciphertext by chance."""
HOOK: Final = """
[[recipient]]
kind = "webhook"
id = "{recipient}"
name = "Insurer"
url = "http://127.0.0.1:{port}/"
secret_file = "insurer.secret"
"""
VIN_SIGNAL: Final = """
[[signal]]
message = "Identification"
signal = "VinCharacters{part}"
path = "{path}"
unit = ""
category = "identity"
sensitivity = "special"
"""
NOISY: Final = PLAIN + "log_type all\nautosave_interval 1\n"


def item(path: str, delivery_class: str) -> dict[str, Any]:
    return {"path": path, "need": "required", "transform": {}, "class": delivery_class, "when": []}


OFFERS = [
    {**OFFER, "items": [item(ODOMETER, "event"), item(LATITUDE, "background")]},
    {
        **OFFER,
        "id": "off_iiiiiiiiiiiiiiii",
        "recipient": INSURER,
        "recipient_name": "Insurer",
        "items": [item(ODOMETER, "event"), *(item(path, "background") for path in VIN_PATHS)],
    },
]


class MarkedCar:
    """Sends frames that stand out, all the time, until it is left."""

    def __init__(self, port: int) -> None:
        self._bus = can.Bus(interface="udp_multicast", channel=GROUP, port=port, hop_limit=0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="marked car")
        vin = [VIN[at : at + 6].encode().ljust(6, b"\0") for at in (0, 6, 12)]
        self._frames = [(0x130, ODOMETER_FRAME), (0x18FF5021, POSITION_FRAME)]
        self._frames += [(0x18FEEC21, bytes([part]) + text) for part, text in enumerate(vin)]

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._bus.shutdown()

    def _run(self) -> None:
        while not self._over.wait(0.2):
            for can_id, data in self._frames:
                self._bus.send(can.Message(arbitration_id=can_id, is_extended_id=True, data=data))


class Spy:
    """Hears all that the broker carries and writes topics and messages to a file, which is searched, too."""

    def __init__(self, port: int, file: Path) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._file = file
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "spy", protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_message = lambda _c, _d, message: self._heard(message.topic, bytes(message.payload))
        self._client.connect(HOST, port)
        self._client.loop_start()

    def _heard(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, payload))
        with self._file.open("ab") as file:
            file.write(topic.encode() + b"\n" + payload + b"\n")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def leave_a_session(port: int) -> None:
    """A subscriber that has gone but whose session stays: the broker keeps every message for it, on its disk."""
    done = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, "gone", protocol=paho.MQTTv5)
    client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    client.on_subscribe = lambda *_: done.set()
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    client.connect(HOST, port, clean_start=False, properties=properties)
    client.loop_start()
    assert done.wait(10)
    client.disconnect()
    client.loop_stop()


@dataclass(frozen=True)
class Remains:
    """What a run left behind."""

    folder: Path
    spy: list[tuple[str, bytes]]
    markers: list[Marker]
    bodies: list[bytes]
    """Opened boxes with readings: the plaintext as the car sealed it."""
    counters: dict[str, int]


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remains]:
    folder = tmp_path_factory.mktemp("markers")
    (folder / "broker").mkdir()
    secret = folder / "insurer.secret"
    secret.write_text("whsec_" + "bWFya2VyLW9mLXRoZS1pbnN1cmVyLXNlY3JldA==")
    secret.chmod(0o600)
    hook = HOOK.format(recipient=INSURER, port=free_port())
    road = Road(folder, broker=Mosquitto(folder / "broker", NOISY), more_cloud=hook)
    try:
        offer_what_the_catalogue_forgets(road)
        spy = Spy(road.broker.port, folder / "spy")
        leave_a_session(road.broker.port)
        road.start_agent()
        until(road.connected, lambda: road.log("agent"))
        for offer in OFFERS:
            road.owner("grant", str(offer["id"]), "--reference", REFERENCE)
        with MarkedCar(road.car.ports["can0"]):
            counters = play(road)
        spy.close()
        for name in list(road.programs):
            road.kill(name)
        yield Remains(folder, spy.messages, markers(road, folder), bodies(folder, spy.messages), counters)
    finally:
        road.close()


def offer_what_the_catalogue_forgets(road: Road) -> None:
    """An offer of the VIN needs a catalogue that has it; without it again, what the car sends of it is blocked here."""
    config, known = road.folder / "cloud.toml", road.folder / "known.map.toml"
    text = road.car.mapping.read_text()
    known.write_text(text + "".join(VIN_SIGNAL.format(part=part, path=path) for part, path in enumerate(VIN_PATHS, 1)))
    without = config.read_text()
    config.write_text(without.replace(str(road.car.mapping), str(known)))
    road.prepare(OFFERS)
    road.stop("cloud")
    config.write_text(without)
    road.start_cloud()
    until(lambda: bool(road.health().get("connected")), lambda: road.log("cloud"))


def play(road: Road) -> dict[str, int]:
    """Until readings have reached the one, wait for the other, and lie in the car in rows and checkpoints."""

    def waiting() -> bool:
        found = road.facts().get("counters", {})
        return bool(found.get("checkpoints") and found.get("rows_waiting", 0) > 10)

    events = road.folder / "workshop" / "events.jsonl"
    until(lambda: events.exists() and events.stat().st_size > 0, lambda: road.log("agent") + road.log("cloud"))
    until(lambda: road.health()["outbox"].get("queued", 0) > 10, lambda: road.log("cloud"))
    # a second window: its schema, its readings and the VIN in a background box; and both programs' other form of log
    for name in ("agent", "cloud"):
        road.stop(name)
        with (road.folder / f"{name}.toml").open("a") as file:
            file.write('\n[log]\nformat = "json"\n')
    road.start_cloud()
    until(lambda: bool(road.health().get("connected")), lambda: road.log("cloud"))
    road.start_agent()
    until(lambda: road.health()["counters"].get("blocked_schema", 0) > 0, lambda: road.log("cloud"))
    health = road.health()
    until(lambda: bool(road.facts()), lambda: road.log("agent"))
    (road.folder / "agent.prom").write_text(numbers(road))
    (road.folder / "cloud.prom").write_text(road.metrics())
    (road.folder / "health.json").write_text(json.dumps(health))
    (road.folder / "status.json").write_text(json.dumps(road.facts()))
    road.broker.stop()
    until(waiting, lambda: str(road.facts()))
    return dict(health["counters"])


def numbers(road: Road) -> str:
    """What the agent's command writes for Prometheus."""
    return road.ask("carnet_agent", "status", "--prometheus", "--config", "agent.toml")


def markers(road: Road, folder: Path) -> list[Marker]:
    """Everything that must not lie around, with the files where it belongs."""
    readings = ["workshop/events.jsonl"]
    consents = ["store/*", "agent/consent.db*", "owner/owner.kept"]
    found = [
        of_text("VIN", VIN),
        of_bytes("odometer frame", ODOMETER_FRAME),
        of_bytes("position frame", POSITION_FRAME),
        of_number("odometer", DISTANCE_M, readings),
        of_number("latitude", LATITUDE_RAW, readings),
        of_text("latitude in degrees", str(LATITUDE_RAW * 1e-07), readings),
        of_text("reference", REFERENCE, [*consents, *readings]),
        of_text("vehicle", VEHICLE, [*consents, "agent/identity*/owner.json", "enrolment.json"]),
        of_bytes("vehicle as bytes", device_bytes(VEHICLE), consents),
        of_text("operator's token", road.token, ["operator.token"]),
        of_text("webhook secret", "bWFya2VyLW9mLXRoZS1pbnN1cmVyLXNlY3JldA==", ["insurer.secret"]),
        of_bytes("webhook secret as bytes", b"marker-of-the-insurer-secret", ["insurer.secret"]),
    ]
    for number, part in enumerate((VIN[:6], VIN[6:12], VIN[12:])):
        found.append(of_text(f"VIN part {number}", part))
        found.append(of_number(f"VIN part {number} as number", int.from_bytes(part.encode(), "big")))
    found += [of_bytes(name, key, [name.replace("identity/", "identity*/")]) for name, key in key_files(folder)]
    found += [of_bytes(f"outbox key {n}", key) for n, key in enumerate(outbox_keys(folder))]
    return found


def key_files(folder: Path) -> list[tuple[str, bytes]]:
    """(file, secret) of every key of car, cloud and owner: the 32 bytes that the file holds."""
    names = ["agent/identity/sign.key", "agent/identity/receive.key", "owner/owner.key"]
    names += ["cloud-keys/seal.key", "cloud-keys/sign.key", "cloud-keys/log.key", "cloud-keys/pseudonym.key"]
    found = []
    for name in names:
        text = (folder / name).read_text()
        found.append((name, bytes.fromhex(text.rpartition("seed: ")[2].strip())))
    found += [(str(path.relative_to(folder)), path.read_bytes()) for path in (folder / "wrapping-keys").glob("*.key")]
    assert len(found) >= 7 and all(len(key) == 32 for _, key in found)
    return found


def outbox_keys(folder: Path) -> list[bytes]:
    """The keys that the waiting events are sealed under; the store has them wrapped only."""
    wrapping = Wrapping(folder / "wrapping-keys", bytes)
    with copied(folder / "store" / "cloud.db") as store:
        rows = store.execute("select wrapped, wrapping_key from outbox_key").fetchall()
    found = [wrapping.unwrap(*row) for row in rows]
    assert len(found) == 2
    return [key for key in found if key is not None]


def bodies(folder: Path, messages: list[tuple[str, bytes]]) -> list[bytes]:
    """What the cloud's key opens: every box with readings that was sent or that still waits in the car."""
    with copied(folder / "agent" / "buffer.db") as buffer:
        envelopes = [row[0] for row in buffer.execute("select envelope from row")]
    (seal,) = keyfolder.read(folder / "cloud-keys").keys.seal.values()
    found = set()
    for data in [*envelopes, *(payload for topic, payload in messages if topic.endswith("/up"))]:
        try:
            envelope = parse_envelope(data)
        except Error:
            continue
        if envelope.header.type is EnvelopeType.DATA:
            for number, part in enumerate(envelope.parts):
                found.add(open_box(part.box or b"", seal, envelope.place(number))[1])
    return [body for body in found if len(body) >= BODY_BYTES_MIN]


class copied:  # noqa: N801  used like a function
    """A copy of a database with its log, open; the original stays as the killed program left it."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parents[2] / f"copy of {path.name} {time.monotonic_ns()}"
        shutil.copytree(path.parent, self._folder, ignore=lambda _, names: [n for n in names if path.name not in n])
        self._open = sqlite3.connect(self._folder / path.name)

    def __enter__(self) -> sqlite3.Connection:
        return self._open

    def __exit__(self, *_: object) -> None:
        self._open.close()
        shutil.rmtree(self._folder)


PLACES: Final = (
    "agent/buffer.db", "agent/buffer.db-wal", "agent/consent.db", "broker/mosquitto.db", "broker/mosquitto.log", "spy",
    "store/cloud.db", "store/cloud.db-wal", "journal/narrowings", "agent.log", "cloud.log", "health.json",
    "status.json", "workshop/events.jsonl", "agent.prom", "cloud.prom",
)  # fmt: skip


@pytest.mark.timeout(150)
def test_the_run_left_what_is_to_be_searched(remains: Remains) -> None:
    """Every kind of file is there and not empty; without them the search would look at nothing."""
    for name in PLACES:
        assert (remains.folder / name).exists(), name
    assert (remains.folder / "agent" / "buffer.db-wal").stat().st_size > 0
    assert (remains.folder / "store" / "cloud.db-wal").stat().st_size > 0
    for name in ("agent", "cloud"):
        lines = (remains.folder / f"{name}.log").read_text().splitlines()
        assert {line.startswith('{"time"') for line in lines} == {True, False}, "one log in both forms"
    up = {topic for topic, _ in remains.spy if topic.endswith("/up")}
    assert len(up) == 1 and any(topic.endswith("/down") for topic, _ in remains.spy)
    assert len(remains.spy) > 10 and len(remains.bodies) > 5


def test_readings_vin_reference_and_keys_lie_nowhere_but_at_home(remains: Remains) -> None:
    assert search(remains.folder, remains.markers) == {}


def test_no_plaintext_of_a_sealed_box_lies_anywhere(remains: Remains) -> None:
    """The columns as the car encoded them, with readings and VIN in them; the outbox seals the very same bytes."""
    assert remains.counters["blocked_schema"] > 0, "no box had the VIN in it"
    plain = [Marker(f"body {n}", (body, body[:BODY_BYTES_MIN])) for n, body in enumerate(remains.bodies)]
    assert search(remains.folder, plain) == {}


def test_the_broker_kept_ciphertext_only(remains: Remains) -> None:
    """Its store really holds the messages: what the spy heard stands in it."""
    stored = (remains.folder / "broker" / "mosquitto.db").read_bytes()
    assert sum(payload in stored for _, payload in remains.spy) > 10


def test_at_home_the_markers_are_found(remains: Remains) -> None:
    """The readings really came to the recipient that was granted them, and the keys are what the files hold."""
    homeless = [Marker(each.name, each.spellings) for each in remains.markers]
    found = search(remains.folder, homeless)
    assert "workshop/events.jsonl" in found["odometer"] & found["latitude in degrees"] & found["reference"]
    assert any(name.startswith("agent/consent.db") for name in found["reference"])
    assert any(name.startswith("store/") for name in found["vehicle as bytes"])
    assert all(len(found[name]) == 1 for name, _ in key_files(remains.folder))
    assert not any(name.startswith("VIN") for name in found)


def test_what_is_planted_in_the_clear_is_found_in_every_spelling(remains: Remains, tmp_path: Path) -> None:
    """In a database like the buffer, in a log, and as the name of a file."""
    markers = [*remains.markers, *(Marker(f"body {n}", (body,)) for n, body in enumerate(remains.bodies))]
    for marker in markers:
        for spelling in marker.spellings:
            (tmp_path / "planted.log").write_bytes(b"INFO something " + spelling + b" happened\n")
            assert search(tmp_path, [marker]) == {marker.name: {"planted.log"}}
    (tmp_path / "planted.log").unlink()
    with sqlite3.connect(tmp_path / "buffer.db") as database:
        database.execute("create table row (number integer, envelope blob)")
        database.executemany("insert into row values (1, ?)", [(marker.spellings[0],) for marker in markers])
    database.close()
    (tmp_path / VIN).touch()
    found = search(tmp_path, markers)
    assert set(found) == {marker.name for marker in markers}
    assert found["VIN"] == {"buffer.db", VIN}
