"""The other ends of a unit's line, each a process: the car that sends frames, and a cloud behind a real Mosquitto.

    python -m bench.rig.line car RATE SECONDS WITHOUT PORT...
    python -m bench.rig.line cloud FOLDER BROKER_PORT background|event

Each prints ``ready``; the car then waits for a line.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cantools
from cantools.database.can import Database

from bench.rig.unit import DATABASE, HOST, MAPPING, mapped_paths
from carnet import jws
from carnet.enrolment import parse_enrolment
from carnet.ids import format_id
from carnet_cloud.catalogue import Catalogue, read_entries
from carnet_cloud.config import MqttSection
from carnet_cloud.mqtt import BrokerLink
from carnet_cloud.push import Pusher
from carnet_cloud.store.devices import Device
from carnet_simulator.frames import drive
from carnet_simulator.wire import CLASSIC_BYTES, pack_block
from tests import consentkit as kit
from tests.cloud.kit import KEYS, VEHICLE, Cloud

SIGNALS = 48
SETS = ("A", "AB", "ABC", "BC", "C")
"""Which of three grants cover a signal; five boxes of about ten signals each."""
RECIPIENTS = {name: format_id("rcp_", f"recipient{name}".encode()) for name in "ABC"}
STEP_MS = 5
EVENT_PATH = "Vehicle.Service.IsServiceDue"
EVENT_MESSAGE = "Diagnostics"


def car(rate: float, seconds: int, ports: Sequence[int], without: str = "") -> None:
    """Send the simulated car's frames, made beforehand, to every port at their time, except message ``without``."""
    database = cast("Database", cantools.database.load_file(DATABASE))
    left_out = {message.frame_id for message in database.messages if message.name == without}
    source = drive([("can0", database)], seed=7, rate=rate)
    steps: list[list[bytes]] = []
    for until_ms in range(STEP_MS, seconds * 1000 + 1, STEP_MS):
        data = pack_block(source.frames_until(until_ms))
        frames = [data[at : at + CLASSIC_BYTES] for at in range(0, len(data), CLASSIC_BYTES)]
        kept = [one for one in frames if int.from_bytes(one[:4], sys.byteorder) & 0x1FFFFFFF not in left_out]
        steps.append(kept)
    outs = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ports]
    for out, port in zip(outs, ports, strict=True):
        out.connect((HOST, port))
    print("ready", flush=True)
    sys.stdin.readline()
    due = time.monotonic()
    for frames in steps:
        due += STEP_MS / 1000
        time.sleep(max(0.0, due - time.monotonic()))
        for out in outs:
            for frame in frames:
                try:
                    out.send(frame)
                except ConnectionRefusedError:
                    continue


def cloud(folder: Path, port: int, delivery_class: str) -> None:
    """The real receiver, three grants that overlap, and with ``event`` among the words a trigger for the first."""
    catalogue = Catalogue(read_entries(MAPPING.read_bytes(), MAPPING.name))
    made = Cloud(folder, recipients=tuple(RECIPIENTS.values()), catalogue=catalogue)
    made.clock.ms = now_ms()
    enrol(made, (folder / "enrolment").read_bytes())
    for name in RECIPIENTS:
        give(made, name, delivery_class)
    pusher = Pusher(made.store, KEYS.sign, os.urandom)
    pusher.changed(VEHICLE)
    link = BrokerLink(MqttSection(host=HOST, port=port), "bench-cloud")
    link.start()
    link.connected.wait(10)
    print("ready", flush=True)
    while True:
        messages = link.take(256, 0.02)
        made.clock.ms = now_ms()
        answers = made.receiver.process(messages, made.clock.ms) if messages else []
        for answer in [*answers, *pusher.due(made.clock.ms)]:
            link.publish(answer)


def enrol(made: Cloud, enrolment_file: bytes) -> None:
    """Take the unit as ``carnet-cloud enrol`` does."""
    one = parse_enrolment(enrolment_file)
    with made.store.transaction() as t:
        device = Device(one.device, VEHICLE, kit.TENANT, 1, one.sign_key, one.receive_key, "active")
        t.devices.add(device, now_ms())
        for key in one.owner_keys:
            t.devices.pin_owner_key(VEHICLE, 1, jws.thumbprint(key), key)


def give(made: Cloud, name: str, delivery_class: str) -> None:
    """One of the three grants: its share of the 48 signals at 1 Hz; A has the trigger too."""
    paths = mapped_paths(SIGNALS)
    share = [path for n, path in enumerate(paths) if name in SETS[n * len(SETS) // SIGNALS]]
    items = [kit.item(path, transform={"interval_ms": 1000}) for path in share]
    if delivery_class == "event" and name == "A":
        items.append(kit.item(EVENT_PATH, transform={"on_change": True}, **{"class": "event"}))
    now = now_ms()
    offer = kit.offer_bytes(
        id=format_id("off_", f"offer----{name}".encode()),
        recipient=RECIPIENTS[name],
        items=items,
        created_ms=now - 1000,
    )
    made.offers.publish(offer)
    token = kit.token(
        offer,
        optional=(),
        id=format_id("rec_", f"record---{name}".encode()),
        given_ms=now,
        not_before_ms=now,
        expires_ms=now + kit.DAY_MS,
    )
    made.consents.give(token, kit.VEHICLE)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def main(words: Sequence[str]) -> int:
    match words:
        case ["car", rate, seconds, without, *ports]:
            car(float(rate), int(seconds), [int(port) for port in ports], without)
        case ["cloud", folder, port, delivery_class]:
            cloud(Path(folder), int(port), delivery_class)
        case _:
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
