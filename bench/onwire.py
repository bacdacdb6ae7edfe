"""Bytes per sample of the whole agent: ``python bench/onwire.py [--minutes 10]``.

The real core with its collector, sealer and buffer, and the real receiver, in memory and on a clock of their own: the
simulated car, 48 signals at 1 Hz in three grants that overlap (five boxes), windows of 60 s. Every byte that an MQTT
connection carries for them is counted, both ways: envelopes, acknowledgements, PUBLISH and PUBACK; TLS and TCP apart.
Schemas, check-ins and grant sets are counted apart, because they come once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.bytes import PUBACK_BYTES, mqtt_publish_bytes
from bench.rig.line import RECIPIENTS, give, now_ms
from bench.rig.measure import machine
from bench.rig.unit import MAPPING
from carnet.envelope import parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.topics import topic_down, topic_up
from carnet_cloud.catalogue import Catalogue, read_entries
from carnet_cloud.push import Pusher
from tests.agent.agentkit import RECEIVE, SIGN, Rig
from tests.cloud.kit import DEVICE, KEYS, VEHICLE, Cloud
from tests.cloud.kit import Unit as SealingUnit

WINDOW_S = 60


class Line:
    """A unit, a cloud and what goes between them, counted. ``disk``: a folder for the unit's databases."""

    def __init__(self, folder: Path, disk: Path | None = None) -> None:
        catalogue = Catalogue(read_entries(MAPPING.read_bytes(), MAPPING.name))
        self.cloud = Cloud(folder, recipients=tuple(RECIPIENTS.values()), catalogue=catalogue)
        self.rig = Rig(now_ms(), folder=disk)
        self.cloud.clock.ms = self.rig.wall_ms
        self.cloud.enrol(SealingUnit(key=SIGN, receive=RECEIVE))
        for name in RECIPIENTS:
            give(self.cloud, name, "background")
        self.pusher = Pusher(self.cloud.store, KEYS.sign, self.rig.random.randbytes)
        self.pusher.changed(VEHICLE)
        self.data: Counter[str] = Counter()
        self.once: Counter[str] = Counter()
        self.rig.start()
        self.rig.connect()

    def drive(self, seconds: int) -> None:
        for _ in range(seconds):
            self.rig.pass_time(1000)
            self.cloud.clock.ms = self.rig.wall_ms
            for _, payload in self.pusher.due(self.rig.wall_ms):
                self.once["down"] += len(payload)
                self.rig.hear(payload)
            while sent := self.rig.take():
                for payload in sent:
                    self._exchange(payload)

    def samples(self) -> int:
        """In the data envelopes that were sent; one that several grants cover counts once, as it travels once."""
        query = "select coalesce(sum(samples), 0) from row where type = ?"
        return int(self.rig.buffer_db.execute(query, (int(EnvelopeType.DATA),)).fetchone()[0])

    def _exchange(self, sent: bytes) -> None:
        is_data = parse_envelope(sent).header.type is EnvelopeType.DATA
        counted = self.data if is_data else self.once
        counted["windows"] += 1
        answers = self.cloud.send(sent)
        for way, topic, payloads in (("up", topic_up(DEVICE), [sent]), ("down", topic_down(DEVICE), answers)):
            for payload in payloads:
                counted[way] += len(payload)
                counted["mqtt"] += mqtt_publish_bytes(topic, len(payload)) - len(payload) + PUBACK_BYTES
        for answer in answers:
            self.rig.hear(answer)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="one minute")
    options = parser.parse_args(arguments)
    minutes = 1 if options.quick else options.minutes
    with tempfile.TemporaryDirectory() as name:
        line = Line(Path(name))
        line.drive(minutes * WINDOW_S + 2)
        samples = line.samples()
    shares = {name: line.data[name] / samples for name in ("up", "down", "mqtt")}
    total, once = sum(shares.values()), sum(line.once[name] for name in ("up", "down", "mqtt"))
    parts = "  ".join(f"{name} {share:.3f}" for name, share in shares.items())
    print(f"{total:.3f} bytes a sample = {parts}   ({samples} samples in {line.data['windows']} windows)")
    print(f"once: {once} bytes of schemas, check-ins and grant sets")
    print(json.dumps({"bench": "onwire", **machine(), "bytes_per_sample": round(total, 3), "once": once}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
