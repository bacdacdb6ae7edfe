"""What the receiver takes: envelopes per second and core, over a real Mosquitto, with consent,
commit and three recipients.

    python bench/receiver.py [--envelopes 3000] [--store postgresql]

Each envelope holds one box of 480 samples (8 signals, 60 rows) for three records. A process of its own publishes them;
this process receives with the product's broker link, judges, commits to SQLite on disk, answers with signed
acknowledgements and forwards to three JSON Lines recipients. Counted is the CPU time of this process alone: once for
receiving and committing, once more with the forwarding. With ``--store postgresql`` the server is one of its own, on
disk, through a socket; its CPU time is told apart from ours.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from carnet import canonical, jws
from carnet.batch import Batch
from carnet.ids import format_id
from carnet.records import sign_record
from carnet.schema import Column, Schema
from carnet.signals import Category, Sensitivity
from carnet.topics import topic_up
from carnet.transforms import Transform
from carnet_cloud.catalogue import Catalogue, Entry
from carnet_cloud.config import MqttSection
from carnet_cloud.core import Receiver
from carnet_cloud.enqueue import Outlet
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.lease import Leases
from carnet_cloud.mqtt import BrokerLink
from carnet_cloud.recipients import JsonLines
from carnet_cloud.store import SqliteStore, Store
from carnet_cloud.store.consents import StoredRecord
from carnet_cloud.store.devices import Device
from carnet_cloud.wrapping import Wrapping
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, KEYS, NOW_MS, VEHICLE, Unit

SIGNALS, ROWS = 8, 60
PATHS = [f"Vehicle.Bench.Signal{n}" for n in range(SIGNALS)]
EVERY_SECOND = Transform(interval_ms=1000)
RECIPIENTS = [format_id("rcp_", f"recipient{n}".encode()) for n in range(3)]
RECORDS = sorted(format_id("rec_", f"record---{n}".encode()) for n in range(3))
SCHEMA = Schema(tuple(Column(path, "km/h", "int", "0.1", "0", EVERY_SECOND, n // 4) for n, path in enumerate(PATHS)))
GROUP_MAX, GROUP_WAIT_S = 256, 0.05


def envelopes(count: int) -> list[bytes]:
    """The schema and then ``count`` envelopes, sealed and chained as a car would."""
    source = np.random.default_rng(1)
    unit = Unit()
    found = [unit.schema(SCHEMA)]
    for number in range(count):
        unit.boot_ms = 3_600_000 + number * 60_000
        unit.wall_ms = NOW_MS + number * 60_000
        times = np.arange(ROWS, dtype=np.int64) * 1000 + unit.boot_ms - 60_000
        values = tuple(source.integers(-3, 4, ROWS).cumsum() for _ in PATHS)
        found.append(unit.data(Batch(SCHEMA, (times, times), values), records=tuple(RECORDS)))
    return found


def fill(store: Store) -> None:
    """One enrolled unit and three records that are given."""
    unit = Unit()
    with store.transaction() as t:
        t.devices.add(Device(DEVICE, VEHICLE, kit.TENANT, 1, unit.key.public, unit.receive.public, "active"), NOW_MS)
        t.devices.pin_owner_key(VEHICLE, 1, jws.thumbprint(kit.OWNER_KEY.public), kit.OWNER_KEY.public)
        for recipient, record in zip(RECIPIENTS, RECORDS, strict=True):
            items = [kit.item(path, transform=EVERY_SECOND.document()) for path in PATHS]
            name = format_id("off_", recipient[-10:].encode())
            offer = canonical.encode(kit.offer_document(id=name, recipient=recipient, items=items))
            t.consents.add_offer(name, kit.TENANT, recipient, offer, NOW_MS)
            given = kit.record(offer, optional=(), id=record, expires_ms=NOW_MS + 300 * kit.DAY_MS)
            token = sign_record(given, kit.OWNER_KEY.secret)
            stored = StoredRecord(
                record, VEHICLE, 1, kit.TENANT, recipient, name, token, "given", given.expires_ms, False,
                in_force=1, until_ms=given.expires_ms, log_position=1,
            )  # fmt: skip
            t.consents.add_record(stored, NOW_MS)
        t.consents.raise_generation(VEHICLE, 1)


def publish(port: int, file: Path) -> int:
    """The other process: publish every envelope in ``file``, QoS 1, sixteen in flight."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench-car", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(16)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for line in file.read_text().split():
        client.publish(topic_up(DEVICE), bytes.fromhex(line), qos=1).wait_for_publish(30)
    client.disconnect()
    client.loop_stop()
    return 0


def broker(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A Mosquitto of its own on a free port."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    process = subprocess.Popen([program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            break
        time.sleep(0.05)
    return process, port


def measure(folder: Path, port: int, messages: list[bytes], count: int, store: Store) -> dict[str, float]:
    """CPU seconds of this process per envelope, receiving and forwarding."""
    fill(store)
    wrapping = Wrapping(folder / "wrapping", random.Random(1).randbytes)
    book = GrantBook(RECIPIENTS)
    paths = [Entry(path, "km/h", Category.DRIVING, Sensitivity.LOW) for path in PATHS]
    outlet = Outlet(book, Catalogue(paths), wrapping, b"p" * 32, random.Random(2).randbytes)
    receiver = Receiver(store, KEYS, outlet, random.Random(3).randbytes)
    link = BrokerLink(MqttSection(host="127.0.0.1", port=port), "bench-receiver")
    link.start()
    link.connected.wait(10)
    source = folder / "envelopes"
    source.write_text("\n".join(data.hex() for data in messages))
    car = subprocess.Popen([sys.executable, __file__, "--publish", str(port), str(source)])
    now_ms = NOW_MS + count * 60_000
    started, taken = time.process_time(), 0
    while taken < len(messages):
        group = link.take(GROUP_MAX, GROUP_WAIT_S)
        taken += len(group)
        for answer in receiver.process(group, now_ms) if group else []:
            link.publish(answer)
    received = time.process_time() - started
    car.wait(30)
    link.stop()
    with store.transaction() as t:
        made = t.counters.all().get("events_enqueued", 0)
    if made != len(RECIPIENTS) * count:
        raise SystemExit(f"the bench is wrong: {made} events instead of {len(RECIPIENTS) * count}")
    forwarded = forward(store, wrapping, book, folder, now_ms)
    return {"receive_us": received / count * 1e6, "forward_us": forwarded / count * 1e6}


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[tuple[Store, Callable[[], float]]]:
    """An empty store, and what tells the CPU seconds that its server has taken since."""
    if kind == "sqlite":
        yield SqliteStore.open(folder / "store.db", incarnation=b"i" * 16, now_ms=NOW_MS), lambda: 0.0
        return
    # where the tests' servers find what makes their certificates
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
    from carnet_cloud.store.postgres import PostgresStore
    from tests.system.postgres import Postgres

    server = Postgres(on_disk=True)
    try:
        server.start()
        store = PostgresStore(server.url(server.database()), incarnation=b"i" * 16, now_ms=NOW_MS)
        before_s = server.cpu_s()
        yield store, lambda: server.cpu_s() - before_s
    finally:
        server.close()


def forward(store: Store, wrapping: Wrapping, book: GrantBook, folder: Path, now_ms: int) -> float:
    """CPU seconds to hand every event to three files."""
    files = {name: JsonLines(folder / f"{name}.jsonl") for name in RECIPIENTS}
    clocks = Clocks(lambda: now_ms, lambda: time.monotonic() * 1000, lambda: 0.5)
    sender = Forwarder(store, files, wrapping, Leases(), book.may_send, clocks, b"bench---")
    started = time.process_time()
    for name in RECIPIENTS:
        while sender.step(name):
            pass
    return time.process_time() - started


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envelopes", type=int, default=2000)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite", help="default: %(default)s")
    parser.add_argument("--publish", nargs=2, metavar=("PORT", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.publish:
        return publish(int(options.publish[0]), Path(options.publish[1]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process, port = broker(folder)
        try:
            with opened(options.store, folder) as (store, server_s):
                found = measure(folder, port, envelopes(options.envelopes), options.envelopes, store)
                found["server_us"] = server_s() / options.envelopes * 1e6
        finally:
            process.terminate()
            process.wait(10)
    rate = 1e6 / found["receive_us"]
    whole = 1e6 / (found["receive_us"] + found["forward_us"])
    print(f"receive, judge, commit, acknowledge   {found['receive_us']:7.0f} us   {rate:6.0f} envelopes/s/core")
    print(f"and forward to three files            {found['forward_us']:7.0f} us   {whole:6.0f} envelopes/s/core in all")
    if options.store == "postgresql":
        print(f"the server, for both                  {found['server_us']:7.0f} us")
    print(
        json.dumps(
            {
                "bench": "receiver",
                "store": options.store,
                "samples": SIGNALS * ROWS,
                **{k: round(v) for k, v in found.items()},
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
