"""From a withdrawal to silence in the cloud: ``python bench/withdraw.py [--withdrawals 60] [--netem]``.

The real store on disk with its journal, gate, outbox and webhook. Events of one record are on their way three times
when its owner withdraws it: two forwarders are in the middle of a body that the recipient takes at 200 kB/s, a third
hangs with a lease in hand and never comes back. Each withdrawal comes at a random moment of that.

Measured is how long `Consents.event` takes to return, and when the recipient's kernel received the last byte. A byte
that comes after the return fails the bench. The network is loopback; with ``--netem`` it is that of the guest, with
100 ms round trip and 2 % loss. Then what comes after the return must have been on its way: it comes within the way
there (50 ms) and a turn of the guest's slow processor (50 ms).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.rig.far import in_guest, move_away
from bench.rig.measure import machine, percentile
from carnet import jws
from carnet.ids import format_id
from carnet.records import sign_record
from carnet.signals import Category, Sensitivity
from carnet.topics import topic_up
from carnet_cloud.catalogue import Catalogue, Entry
from carnet_cloud.consents import Consents, Ended, Waits
from carnet_cloud.core import Receiver
from carnet_cloud.enqueue import Outlet
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.journal import Journal
from carnet_cloud.lease import Lease, Leases
from carnet_cloud.offers import Offers
from carnet_cloud.recipients import Webhook
from carnet_cloud.recipients.base import GROUP_MAX, Event, Outcome, Recipient
from carnet_cloud.store import SqliteStore
from carnet_cloud.store.devices import Device
from carnet_cloud.wrapping import Wrapping
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, KEYS, SCHEMA, VEHICLE, Unit, log_at_once, readings

SECRET = "whsec_" + "A" * 32
SAMPLES, EVENTS = 8000, 4
"""The slow forwarders lease one event at once, as they would after a while; the one that hangs leases the rest.
"""
BOOT_MS = 100_000_000
STREAM_S = 0.3
"""The withdrawal comes within this time after all three sends have begun."""
AFTER_S = 0.3
"""How long nothing may come after the return."""
ON_ITS_WAY_S = 0.1
"""How long something may come that was sent before the return, over the far network."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Milliseconds from the call, negative before it; ``late``: bytes that came after the return."""

    returned: float
    last_byte: float
    late: int


class Hung:
    """A recipient's adapter that does not come back until the bench is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def send(self, _event: Event, _lease: Lease, _now_s: int) -> Outcome:
        self.over.wait()
        return Outcome.RETRY

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None:
        self.over.set()


class Scene:
    """A cloud with one vehicle and one recipient."""

    def __init__(self, folder: Path, port: int) -> None:
        self.store = SqliteStore.open(folder / "store.db", incarnation=b"i" * 16, now_ms=now_ms())
        self.unit = Unit(boot_ms=BOOT_MS, wall_ms=now_ms())
        self._wrapping = Wrapping(folder / "wrapping", os.urandom)
        self._leases, self._book = Leases(), GrantBook((kit.RECIPIENT,))
        paths = [Entry(kit.ODOMETER, "km", Category.DRIVING, Sensitivity.LOW)]
        paths.append(Entry(kit.SPEED, "km/h", Category.DRIVING, Sensitivity.PERSONAL))
        catalogue = Catalogue(paths)
        outlet = Outlet(self._book, catalogue, self._wrapping, b"p" * 32, os.urandom)
        self._receiver = Receiver(self.store, KEYS, outlet, os.urandom)
        journal = Journal(folder / "journal" / "narrowings", self.store.incarnation, new_store=True)
        waits = Waits(now_ms, monotonic_ms, lambda: time.sleep(0.005))
        log = log_at_once(self.store, folder / "journal", os.urandom, now_ms, lambda _vehicle: None)
        self.consents = Consents(self.store, journal, self._leases, waits, lambda _vehicle: None, *log)
        self.offers = Offers(self.store, catalogue, {kit.RECIPIENT: kit.RECIPIENT_NAME}, now_ms)
        self._stopping = threading.Event()
        url = f"http://127.0.0.1:{port}/"
        for number in range(2):
            sender = self._forwarder(Webhook(url, SECRET), b"sender-%d" % number, group_max=1)
            threading.Thread(target=self._forward, args=(sender,), daemon=True).start()
        self._enrol()

    def give(self, number: int) -> tuple[str, str]:
        """A new record over everything, with events that wait; (id, token)."""
        given_ms = now_ms() - kit.DAY_MS
        items = [kit.item(column.path, transform=column.transform.document()) for column in SCHEMA.columns]
        record = format_id("rec_", b"record%04d" % number)
        offer = kit.offer_bytes(id=format_id("off_", b"offer-%04d" % number), items=items, created_ms=given_ms - 1000)
        self.offers.publish(offer)
        until_ms = given_ms + 9 * kit.DAY_MS
        given = kit.record(offer, (), id=record)
        given = replace(given, given_ms=given_ms, not_before_ms=given_ms, expires_ms=until_ms)
        token = sign_record(given, kit.OWNER_KEY.secret)
        self.consents.give(token, kit.VEHICLE)
        self.unit.wall_ms = now_ms()
        batch = readings(boot_ms=BOOT_MS, count=SAMPLES)
        self._receive([self.unit.data(batch, records=(record,)) for _ in range(EVENTS)])
        return record, token

    def hang(self) -> Hung:
        """One forwarder more, which takes an event and hangs."""
        hung = Hung()
        sender = self._forwarder(hung, b"sender-h")
        threading.Thread(target=sender.step, args=(kit.RECIPIENT,), daemon=True).start()
        return hung

    def flying(self, record: str) -> int:
        return self._leases.flying(record)

    def close(self) -> None:
        self._stopping.set()

    def _forwarder(self, recipient: Recipient, owner: bytes, group_max: int = GROUP_MAX) -> Forwarder:
        clocks = Clocks(now_ms, monotonic_ms, random.random)
        ends = {kit.RECIPIENT: recipient}
        given = self._book.may_send
        return Forwarder(self.store, ends, self._wrapping, self._leases, given, clocks, owner, group_max)

    def _forward(self, sender: Forwarder) -> None:
        while not self._stopping.is_set():
            if not sender.step(kit.RECIPIENT):
                time.sleep(0.005)

    def _enrol(self) -> None:
        unit = self.unit
        with self.store.transaction() as t:
            device = Device(DEVICE, VEHICLE, kit.TENANT, 1, unit.key.public, unit.receive.public, "active")
            t.devices.add(device, now_ms())
            t.devices.pin_owner_key(VEHICLE, 1, jws.thumbprint(kit.OWNER_KEY.public), kit.OWNER_KEY.public)
        self._receive([unit.schema()])

    def _receive(self, envelopes: Sequence[bytes]) -> None:
        self._receiver.process([(topic_up(DEVICE), each) for each in envelopes], now_ms())


def withdraw(
    scene: Scene, recipient: subprocess.Popen[str], number: int, chance: random.Random, on_its_way_s: float
) -> Withdrawal:
    """Bring three sends into the air and withdraw."""
    record, token = scene.give(number)
    _wait_for_sends(scene, record, 2)
    hung = scene.hang()
    _wait_for_sends(scene, record, 3)
    time.sleep(chance.uniform(0, STREAM_S))
    event = kit.event("withdraw", [token], now_ms(), record=record)
    called = time.monotonic()
    ended = scene.consents.event(event, record)
    returned = time.monotonic()
    time.sleep(on_its_way_s)
    at_return, last_s = _received(recipient)
    time.sleep(AFTER_S)
    later, _ = _received(recipient)
    hung.close()
    if not isinstance(ended, Ended) or ended.state != "withdrawn":
        raise SystemExit("the bench is wrong: the record was not withdrawn")
    return Withdrawal(1000 * (returned - called), 1000 * (last_s - called), later - at_return)


def _wait_for_sends(scene: Scene, record: str, count: int) -> None:
    until = time.monotonic() + 10
    while scene.flying(record) < count:
        if time.monotonic() > until:
            raise SystemExit(f"the bench is wrong: {scene.flying(record)} sends in the air instead of {count}")
        time.sleep(0.002)


def _received(recipient: subprocess.Popen[str]) -> tuple[int, float]:
    assert recipient.stdin is not None
    assert recipient.stdout is not None
    recipient.stdin.write("\n")
    recipient.stdin.flush()
    count, last_s = json.loads(recipient.stdout.readline())
    return int(count), float(last_s)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def monotonic_ms() -> float:
    return time.monotonic() * 1000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--withdrawals", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="two withdrawals")
    parser.add_argument("--netem", action="store_true", help="in the guest, with 100 ms round trip and 2 %% loss")
    parser.add_argument("--in-guest", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    count = 2 if options.quick else options.withdrawals
    if options.netem:
        return in_guest("withdraw", ["--withdrawals", str(count)])
    if options.in_guest:
        move_away()
    chance = random.Random(1)
    recipient = subprocess.Popen(
        [sys.executable, "-m", "bench.rig.slow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert recipient.stdout is not None
    try:
        with tempfile.TemporaryDirectory() as name:
            scene = Scene(Path(name), int(recipient.stdout.readline()))
            way_s = ON_ITS_WAY_S if options.in_guest else 0.0
            found = [withdraw(scene, recipient, number, chance, way_s) for number in range(count)]
            scene.close()
    finally:
        recipient.kill()
        recipient.communicate()
    late = sum(each.late for each in found)
    figures = {}
    for name in ("returned", "last_byte"):
        values = [float(getattr(each, name)) for each in found]
        figures[name] = {"p50": statistics.median(values), "p99": percentile(values, 0.99), "max": max(values)}
        print(f"{name:10} ms:  " + "  ".join(f"{key} {value:.0f}" for key, value in figures[name].items()))
    print(f"{late} bytes after the return, {len(found)} withdrawals")
    rounded = {name: {key: round(value) for key, value in each.items()} for name, each in figures.items()}
    print(
        json.dumps(
            {
                "bench": "withdraw",
                "netem": options.in_guest,
                **machine(),
                "withdrawals": len(found),
                **rounded,
                "late": late,
            }
        )
    )
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
