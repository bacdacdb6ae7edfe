"""What the tests of collect share: cars, grants in two spellings, and cuts in the way the oracle writes them."""

from __future__ import annotations

import hashlib
import random
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cantools
import numpy as np
from cantools.database.can import Database

from carnet.grants import Grant, GrantItem
from carnet.ids import RECORD, format_id
from carnet.offers import Condition
from carnet.signals import Category, DeliveryClass
from carnet.states import State
from carnet.transforms import Transform
from carnet_agent.collect import Collector, Cut
from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.mapping import MappedSignal, load_mapping
from carnet_agent.dbc.parse import parse_dbc
from carnet_agent.dbc.plan import Match, Plan
from carnet_agent.frames import Frames
from carnet_simulator.faults import Faults
from carnet_simulator.frames import drive
from tests.agent import collect_oracle
from tests.agent.collect_oracle import Frame, Key, Oracle
from tests.conftest import CHECKOUT

Item = dict[str, Any]


@dataclass(frozen=True)
class Car:
    """One bus with its DBC and mapping, for us and for cantools."""

    plan: Plan
    mapped: tuple[MappedSignal, ...]
    checksums: dict[str, str]
    database: Any
    mapping: dict[str, Any]
    prefix: str

    def collector(self, **changes: Any) -> Collector:
        return Collector(self.plan, self.mapped, checksums=self.checksums, **changes)

    def oracle(self) -> Oracle:
        signals = collect_oracle.signals_of(self.database, self.mapping, self.prefix)
        return Oracle(self.database, signals, by_pgn=self.plan.match == "pgn")

    def index(self, path: str) -> int:
        return next(number for number, one in enumerate(self.mapped) if one.path == path)


def car(file: Path, mapping: Path, bus: str = "can0", match: Match = "id") -> Car:
    data = file.read_bytes()
    plan, _ = compile_plan([(bus, parse_dbc(data, file.name))], match=match)
    units = {(info.message, info.name): info.unit for info in plan.signals}
    parsed = load_mapping(mapping.read_bytes(), hashlib.sha256(data).hexdigest(), units)
    mapped = tuple(parsed.path_of(info.bus, info.dbc, info.message, info.name) for info in plan.signals)
    checksums = {parsed.dbc: parsed.checksum} if parsed.checksum else {}
    database = cantools.database.load_file(file, strict=False)
    prefix = f"Vehicle.Private.{bus}.{parsed.dbc}"
    return Car(plan, mapped, checksums, database, tomllib.loads(mapping.read_text()), prefix)


def demo_car() -> Car:
    return car(CHECKOUT / "dbc" / "carnet_demo.dbc", CHECKOUT / "dbc" / "carnet_demo.map.toml")


def item(target: str, transform: Item | None = None, delivery_class: str = "background", **changes: Any) -> Item:
    """An item as in an offer; a target with a dot is a path."""
    kind = "path" if "." in target else "category"
    return {kind: target, "transform": transform or {}, "class": delivery_class, "when": [], **changes}


def record_id(number: int) -> str:
    return format_id(RECORD, b"record%04d" % number)


def grant(number: int, items: Iterable[Item], state: State = State.GIVEN) -> Grant:
    """The compiled grant of these items."""
    return Grant(
        record_id=record_id(number),
        offer_id="",
        tenant="",
        recipient="",
        vehicle="",
        epoch=1,
        reference="",
        state=state,
        narrowed_by=None,
        not_before_ms=0,
        given_ms=0,
        covers_from_ms=0,
        expires_ms=1 << 50,
        retention_days=1,
        replay_ms=0,
        items=tuple(_granted(one) for one in items),
        declined=(),
        chain=("",),
    )


def _granted(one: Item) -> GrantItem:
    return GrantItem(
        path=one.get("path"),
        category=Category(one["category"]) if "category" in one else None,
        condition_only=one.get("condition", False),
        transform=Transform.parse(one["transform"]),
        delivery_class=DeliveryClass(one["class"]),
        when=tuple(Condition(when["path"], cast("Any", when["op"]), when["value"]) for when in one["when"]),
    )


def simulated(seconds: int, seed: int, rate: float | None = None, faults: Faults | None = None) -> Frames:
    """Frames of the simulated car."""
    database = cast("Database", cantools.database.load_file(CHECKOUT / "dbc" / "carnet_demo.dbc"))
    block = drive([("can0", database)], seed, rate=rate, faults=faults).frames_until(seconds * 1000)
    return Frames(block.bus, block.can_id, block.extended.astype(np.uint8), block.length, block.payload, block.time_ns)


def plain(frames: Frames) -> list[Frame]:
    """The frames as the oracle reads them."""
    rows = zip(
        frames.time_ns.tolist(),
        frames.can_id.tolist(),
        (frames.flags & 1).astype(bool).tolist(),
        (bytes(row[:length]) for row, length in zip(frames.payload, frames.length.tolist(), strict=True)),
        strict=True,
    )
    return list(rows)


Found = dict[Key, list[tuple[int, Fraction]]]


def written_out(cuts: Iterable[Cut], spelling: dict[bytes, str]) -> Found:
    """What the records get by these cuts: as the oracle writes it. ``spelling``: canonical transform -> its."""
    found: Found = defaultdict(list)
    for cut in cuts:
        cut.batch.check()
        assert cut.first_ms == min(int(times[0]) for times in cut.batch.times if len(times))
        assert cut.last_ms == max(int(times[-1]) for times in cut.batch.times if len(times))
        for column, raw in zip(cut.batch.schema.columns, cut.batch.values, strict=True):
            factor, offset = Fraction(column.factor), Fraction(column.offset)
            times = cut.batch.times[column.group].tolist()
            values = [value * factor + offset for value in raw.tolist()]
            for record in cut.records:
                key = (
                    format_id(RECORD, record),
                    str(cut.delivery_class),
                    column.path,
                    spelling[column.transform.canonical()],
                    column.field,
                )
                if times:
                    found[key] += zip(times, values, strict=True)
    return found


def spellings(grants: Iterable[dict[str, list[Item]]]) -> dict[bytes, str]:
    """Canonical transform -> how the oracle writes it, for all items."""
    transforms = [one["transform"] for each in grants for items in each.values() for one in items]
    return {Transform.parse(transform).canonical(): repr(transform) for transform in transforms}


def random_transform(chance: random.Random) -> Item:
    """Any transform but a cell."""
    found: Item = {}
    if chance.random() < 0.3:
        found["round"] = chance.choice(["0.1", "0.25", "0.5", "3", "10", "0.000000001"])
    if chance.random() < 0.25:
        fields = ["min", "max", "mean", "count", "first", "last", "sum"]
        chosen = [name for name in fields if chance.random() < 0.6] or ["mean"]
        window_ms = chance.choice([250, 1000, 1700, 5000])
        return {**found, "aggregate": {"window_ms": window_ms, "fields": chosen}}
    if chance.random() < 0.6:
        found["interval_ms"] = chance.choice([1, 20, 100, 333, 1000, 2500])
    if chance.random() < 0.4:
        found["on_change"] = True
    if chance.random() < 0.3:
        found["dead_band"] = chance.choice(["0.01", "0.3", "1", "7", "150"])
    return found


def random_grants(chance: random.Random, paths: list[str], cells: bool) -> dict[str, list[Item]]:
    """Up to four records with overlapping items; transforms are few, so that records share columns."""
    transforms = [random_transform(chance) for _ in range(6)]
    conditions = [
        {"path": chance.choice(paths), "op": chance.choice(["<", "<=", "==", "!=", ">=", ">"]), "value": value}
        for value in ("0", "0.5", "20", "1000")
    ]
    grants: dict[str, list[Item]] = {}
    for number in range(chance.randint(1, 4)):
        items: list[Item] = []
        for _ in range(chance.randint(1, 14)):
            when = chance.sample(conditions, chance.choice([0, 0, 0, 1, 2]))
            target = chance.choice(paths) if chance.random() < 0.9 else chance.choice(["driving", "energy"])
            delivery_class = chance.choice(["background", "live", "event"])
            items.append(item(target, chance.choice(transforms), delivery_class, when=when))
            items += [item(one["path"], condition=True) for one in when]
        if cells and chance.random() < 0.7:
            cell = {"cell_m": chance.choice([1, 50, 1000, 25_000]), "interval_ms": 300}
            items += [item(collect_oracle.LATITUDE, cell), item(collect_oracle.LONGITUDE, cell)]
        grants[record_id(number)] = items
    return grants
