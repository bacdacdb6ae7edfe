"""One envelope of 480 samples beside JSON receivers: ``python bench/receiver_rivals.py [--groups 12]``.

The envelopes, records and store of ``bench/receiver.py``, without the broker, which costs all of them the same. Carnet
verifies, opens, decodes, judges for three recipients, writes their outbox rows, replay row and counters and commits;
it signs the acknowledgements too. A rival gets the same 480 samples as JSON of one object per sample, in clear and
unsigned: it parses and validates them with pydantic or msgspec, and inserts a row per sample, or the whole message as
one row. That checks no consent, keeps nothing for recipients and answers nothing: it is what one writes first, not what
does the same. *Row per recipient* is nearer to it: of each of the three recipients a set says which paths it may have,
and what it may have is written again as JSON, a row each. Every side commits groups of 256 messages to SQLite on disk
(WAL, synchronous=FULL), in turns; counted is CPU time of this process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter

from bench.receiver import GROUP_MAX, PATHS, RECIPIENTS, ROWS, SIGNALS, envelopes, fill
from bench.rig.measure import machine
from bench.rig.rivals import rival, say_missing, versions
from carnet.signals import Category, Sensitivity
from carnet.topics import topic_up
from carnet_cloud.catalogue import Catalogue, Entry
from carnet_cloud.core import Receiver
from carnet_cloud.enqueue import Outlet
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.store import SqliteStore
from carnet_cloud.wrapping import Wrapping
from tests.cloud.kit import DEVICE, KEYS, NOW_MS

Take = Callable[[list[bytes]], None]
Parse = Callable[[bytes], list[Any]]
Write = Callable[[list[Any]], bytes]
PATH_CHARACTERS_MAX = 200
TOPIC = topic_up(DEVICE)
PACKAGES = ("pydantic", "msgspec")


class Sample(BaseModel):
    """What pydantic checks of each sample."""

    s: Annotated[str, Field(max_length=PATH_CHARACTERS_MAX)]
    t: Annotated[int, Field(ge=0)]
    v: float


class Ours:
    """The product's receiver on a store of its own."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        self._store = SqliteStore.open(folder / "store.db", incarnation=b"i" * 16, now_ms=NOW_MS)
        fill(self._store)
        catalogue = Catalogue([Entry(path, "km/h", Category.DRIVING, Sensitivity.LOW) for path in PATHS])
        wrapping = Wrapping(folder / "wrapping", random.Random(1).randbytes)
        outlet = Outlet(GrantBook(RECIPIENTS), catalogue, wrapping, b"p" * 32, random.Random(2).randbytes)
        self._receiver = Receiver(self._store, KEYS, outlet, random.Random(3).randbytes)
        self._now_ms = now_ms

    def take(self, messages: list[bytes]) -> None:
        """One group, one commit."""
        self._receiver.process([(TOPIC, message) for message in messages], self._now_ms)

    def events(self) -> int:
        """How many have been committed."""
        with self._store.transaction() as t:
            return t.counters.all().get("events_enqueued", 0)


class Rows:
    """A JSON receiver: ``parse`` gives the samples of a message or raises, ``write`` is the way back."""

    def __init__(self, file: Path, parse: Parse, write: Write, row: str) -> None:
        self._parse, self._write = parse, write
        self._insert = {"sample": self._samples, "message": self._message, "recipient": self._recipients}[row]
        self._may = {name: set(PATHS) for name in RECIPIENTS}
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        self._db.execute("create table sample (path text, t int, v real)")
        self._db.execute("create table message (recipient text, samples int, body blob)")

    def take(self, messages: list[bytes]) -> None:
        """One group, one commit."""
        self._db.execute("begin")
        for body in messages:
            self._insert(self._parse(body), body)
        self._db.execute("commit")

    def _samples(self, samples: list[Any], _: bytes) -> None:
        self._db.executemany("insert into sample values (?, ?, ?)", [(each.s, each.t, each.v) for each in samples])

    def _message(self, samples: list[Any], body: bytes) -> None:
        self._db.execute("insert into message values (null, ?, ?)", (len(samples), body))

    def _recipients(self, samples: list[Any], _: bytes) -> None:
        for name, may in self._may.items():
            granted = [each for each in samples if each.s in may]
            self._db.execute("insert into message values (?, ?, ?)", (name, len(granted), self._write(granted)))

    def samples(self) -> int:
        """How many have been committed."""
        (rows,) = self._db.execute("select count(*) from sample").fetchone()
        (bodies,) = self._db.execute("select coalesce(sum(samples), 0) from message").fetchone()
        return int(rows) + int(bodies)


def json_messages(count: int) -> list[bytes]:
    """The samples of `envelopes`, drawn in the same order from the same seed, as JSON."""
    source = np.random.default_rng(1)
    found = []
    for number in range(count):
        start = NOW_MS + (number - 1) * 60_000
        columns = [source.integers(-3, 4, ROWS).cumsum().tolist() for _ in PATHS]
        rows = [
            {"s": path, "t": start + row * 1000, "v": value / 10}
            for path, column in zip(PATHS, columns, strict=True)
            for row, value in enumerate(column)
        ]
        found.append(json.dumps(rows, separators=(",", ":")).encode())
    return found


def parsers() -> dict[str, tuple[Parse, Write]]:
    """Name -> from bytes to checked samples, and back."""
    adapter = TypeAdapter(list[Sample])
    found: dict[str, tuple[Parse, Write]] = {"pydantic": (adapter.validate_json, adapter.dump_json)}
    msgspec = rival("msgspec")
    if msgspec is not None:
        text = Annotated[str, msgspec.Meta(max_length=PATH_CHARACTERS_MAX)]
        fields = [("s", text), ("t", Annotated[int, msgspec.Meta(ge=0)]), ("v", float)]
        sample = msgspec.defstruct("Sample", fields)
        found["msgspec"] = msgspec.json.Decoder(list[sample]).decode, msgspec.json.Encoder().encode  # type: ignore[valid-type]
    return found


def measure(folder: Path, groups: int) -> dict[str, tuple[float, float]]:
    """Name -> median microseconds per message, and median of the ratios to ours in the same turn."""
    count = groups * GROUP_MAX
    schema, *sealed = envelopes(count)
    clear = json_messages(count)
    ours = Ours(folder, NOW_MS + count * 60_000)
    ours.take([schema])
    rivals = {
        f"{name}, row per {row}": Rows(folder / f"{name}-{row}.db", *both, row)
        for name, both in parsers().items()
        for row in ("sample", "message", "recipient")
    }
    sides: dict[str, tuple[Take, list[bytes]]] = {"Carnet": (ours.take, sealed)}
    sides |= {name: (each.take, clear) for name, each in rivals.items()}
    turns = []
    for start in range(0, count, GROUP_MAX):
        times = {}
        for name, (take, messages) in sides.items():
            group = messages[start : start + GROUP_MAX]
            started = time.process_time_ns()
            take(group)
            times[name] = (time.process_time_ns() - started) / len(group) / 1000
        turns.append(times)
    samples = SIGNALS * ROWS * count
    expected = [samples * (len(RECIPIENTS) if "recipient" in name else 1) for name in rivals]
    if ours.events() != len(RECIPIENTS) * count or [each.samples() for each in rivals.values()] != expected:
        raise SystemExit("the bench is wrong: not everything has been committed")
    medians = {name: statistics.median(turn[name] for turn in turns) for name in sides}
    ratios = {name: statistics.median(turn[name] / turn["Carnet"] for turn in turns) for name in sides}
    return {name: (medians[name], ratios[name]) for name in sides}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="one group: whether it works, not how long it takes")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), 1 if options.quick else options.groups)
    say_missing()
    print(f"CPU microseconds for a message of {SIGNALS * ROWS} samples, without broker, in groups of {GROUP_MAX}")
    for name, (us, ratio) in found.items():
        print(f"{name:28} {us:>7.0f} us {ratio:>6.2f}x {1e6 / us:>8.0f} messages/s/core")
    rows = [{"side": name, "us": round(us), "ratio": round(ratio, 2)} for name, (us, ratio) in found.items()]
    record = {"bench": "receiver_rivals", **machine(), **versions(*PACKAGES), "load": os.getloadavg()[0], "rows": rows}
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
