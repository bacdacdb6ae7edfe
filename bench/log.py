"""From a consent to its effect, through the transparency log: ``python bench/log.py [--gives 400]``.

The real store on disk, consents, sequencer in a thread that every entry wakes, and the pusher that seals the grant
set. Measured is the time from the return of `Consents.give` to the sealed set in the publisher's hands, CPU of a leaf's
place in turns of 256, and the bytes that a consent costs in the store.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.rig.measure import machine, percentile
from carnet import jws
from carnet.ids import device_text, format_id
from carnet.records import sign_record
from carnet_cloud.consents import Consents, Waits
from carnet_cloud.entries import Entries
from carnet_cloud.journal import Journal
from carnet_cloud.lease import Leases
from carnet_cloud.ledger.loghashes import LogHashes
from carnet_cloud.ledger.sequencer import LEAVES_AT_ONCE, Sequencer
from carnet_cloud.push import Pusher
from carnet_cloud.store import SqliteStore
from carnet_cloud.store.devices import Device
from tests import consentkit as kit
from tests.cloud.kit import KEYS, LOG_KEY, NOW_MS, Unit

LIMIT_S = 30.0
LOG_TABLES = ("log", "log_leaf", "log_node")


class Scene:
    """A cloud without readings: consents, log, and grant sets on their way to cars."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self.store = SqliteStore.open(self.path, incarnation=os.urandom(16), now_ms=NOW_MS)
        self._pusher = Pusher(self.store, KEYS.sign, os.urandom)
        hashes = LogHashes(folder / "journal")
        name = "carnet.example/log"
        self.sequencer = Sequencer(
            self.store, LOG_KEY, name, b"bench---", hashes, os.urandom, lambda: NOW_MS, self._changed
        )
        self.to_log, self.published, self.stopping = threading.Event(), threading.Event(), False
        journal = Journal(folder / "journal" / "narrowings", self.store.incarnation, new_store=True)
        waits = Waits(lambda: NOW_MS, lambda: time.monotonic() * 1000, lambda: time.sleep(0.005))
        entries = Entries(os.urandom)
        self.consents = Consents(
            self.store, journal, Leases(), waits, self._changed, entries, lambda _: self.to_log.set()
        )
        with self.store.transaction() as t:
            t.consents.add_offer(kit.OFFER_ID, kit.TENANT, kit.RECIPIENT, kit.OFFER, NOW_MS)
        self._cars = 0

    def _changed(self, vehicle: bytes) -> None:
        self._pusher.changed(vehicle)
        if self._pusher.due(NOW_MS):
            self.published.set()

    def sequence(self) -> None:
        """The service's loop."""
        while not self.stopping:
            self.to_log.wait(1.0)
            self.to_log.clear()
            while self.sequencer.turns():
                pass

    def record(self) -> tuple[str, str]:
        """The signed consent of one more car, and its vehicle."""
        self._cars += 1
        vehicle, unit = self._cars.to_bytes(16, "big"), Unit()
        public = kit.OWNER_KEY.public
        with self.store.transaction() as t:
            device = Device(vehicle, vehicle, kit.TENANT, 1, unit.key.public, unit.receive.public, "active")
            t.devices.add(device, NOW_MS)
            t.devices.pin_owner_key(vehicle, 1, jws.thumbprint(public), public)
        name = format_id("rec_", b"r" + self._cars.to_bytes(9, "big"))
        given = kit.record(kit.OFFER, (), id=name, vehicle=device_text(vehicle))
        return sign_record(given, kit.OWNER_KEY.secret), device_text(vehicle)


def effects(folder: Path, gives: int) -> list[float]:
    """Milliseconds from the return of each `give` to the grant set."""
    scene, found = Scene(folder), []
    thread = threading.Thread(target=scene.sequence, daemon=True)
    thread.start()
    for _ in range(gives):
        token, vehicle = scene.record()
        scene.published.clear()
        scene.consents.give(token, vehicle)
        returned = time.perf_counter()
        if not scene.published.wait(LIMIT_S):
            raise SystemExit("the bench is wrong: no grant set was published")
        found.append((time.perf_counter() - returned) * 1000)
    scene.stopping = True
    scene.to_log.set()
    thread.join(LIMIT_S)
    scene.store.close()
    return found


def places(folder: Path, turns: int) -> tuple[float, float, float]:
    """CPU us of a leaf's place in full turns; bytes of the store for each consent, and of that for the log."""
    scene = Scene(folder)
    leaves = turns * LEAVES_AT_ONCE
    for _ in range(leaves):
        scene.consents.give(*scene.record())
    started = time.process_time()
    while scene.sequencer.turns():
        pass
    took = time.process_time() - started
    with scene.store.transaction() as t:
        log = t.ledger.log(kit.TENANT)
    scene.store.close()
    if log is None or log.size != leaves + 1:
        raise SystemExit("the bench is wrong: not every leaf has a place")
    whole, bare = _size(scene.path), _size(scene.path, LOG_TABLES)
    return took / log.size * 1e6, whole / leaves, (whole - bare) / leaves


def _size(path: Path, without: Sequence[str] = ()) -> int:
    """Bytes of the store's file, with nothing empty in it, and without some tables."""
    copy = path.with_suffix(f".{len(without)}")
    with sqlite3.connect(path) as source:
        source.execute("vacuum into ?", (str(copy),))
    database = sqlite3.connect(copy)
    for table in without:
        database.execute(f"drop table {table}")
    database.execute("vacuum")
    database.close()
    return copy.stat().st_size


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gives", type=int, default=400)
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    options = parser.parse_args(arguments)
    gives, turns = (max(20, options.gives // 10), 1) if options.quick else (options.gives, 8)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        took = effects(Path(one), gives)
        leaf_us, consent_bytes, log_bytes = places(Path(other), turns)
    p50, p99 = statistics.median(took), percentile(took, 0.99)
    print(f"give returned to grant set published   p50 {p50:.1f} ms, p99 {p99:.1f} ms, of {gives}")
    print(f"a leaf's place                         {leaf_us:.0f} us of CPU")
    print(f"bytes of a consent in the store        {consent_bytes:.0f}, of that {log_bytes:.0f} for the log")
    found = {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "leaf_us": round(leaf_us)}
    sizes = {"consent_bytes": round(consent_bytes), "log_bytes": round(log_bytes)}
    print(json.dumps({"bench": "log", **found, **sizes, **machine()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
