"""A unit that lies with its own good key: foreign paths and records, another epoch, wrong times, holes, bombs.

Law: nothing of it may reach anybody. Its readings are of the value `LIE`, which no frame of the car ever has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from backports import zstd

from carnet.batch import Batch
from carnet.ids import format_id
from carnet.schema import Column, Schema
from carnet.transforms import Transform
from tests import consentkit as kit
from tests.cloud.kit import Unit
from tests.world.car import LATITUDE, ODOMETER, SPEED
from tests.world.identity import FIRST
from tests.world.owner import GARAGE

if TYPE_CHECKING:
    from tests.world.world import World

LIE = 7
BOMB_BYTES = 1 << 22


class LyingUnit:
    """It has a stream of its own, so that what the honest agent sends goes on."""

    KINDS = ("path", "transform", "unknown_path", "record", "epoch", "time", "future", "hole", "bomb", "noise")

    def __init__(self, world: World) -> None:
        self._world, self._random = world, world.clockwork.random
        self._unit = Unit(key=FIRST.sign, receive=FIRST.receive, stream=b"a-liar's", wall_ms=0)

    def lie(self, kind: str) -> None:
        mine = [one for one in self._world.agreed.values() if one.recipient == GARAGE and not one.silent]
        if not mine:
            return
        self._world.clockwork.note(f"unit_lied_{kind}")
        record, self._unit.wall_ms, self._unit.epoch = mine[-1].record, self._world.clockwork.now_ms, 1
        # a boot that nobody knows: where it is known, its clock is, whatever the unit says
        self._unit.boot = self._random.randbytes(8)
        # a stream does not begin with a hole
        self._unit.seq += 5 * (kind == "hole" and self._unit.seq > 0)
        if kind in {"bomb", "noise"}:
            plain = bytes(BOMB_BYTES) if kind == "bomb" else self._random.randbytes(500)
            body = zstd.compress(plain, 3) if kind == "bomb" else plain
            self._say(_schema(ODOMETER, "km"), record, body=body)
            return
        path, unit, transform = {
            "path": (LATITUDE, "degrees", {}),
            "transform": (ODOMETER, "km", {"interval_ms": 1}),
            "unknown_path": ("Vehicle.Cabin.Thoughts", "", {}),
        }.get(kind, (SPEED, "km/h", {"interval_ms": 2000}))
        if kind == "record":
            record = format_id("rec_", self._random.randbytes(10))
        if kind == "time":
            self._unit.wall_ms = mine[-1].covers_from_ms - kit.DAY_MS // 24
        if kind == "future":
            self._unit.wall_ms += kit.DAY_MS * 400
        if kind in {"epoch", "hole"}:
            # a hole alone is no lie that anybody could tell: its readings are of another epoch too
            self._unit.epoch = 2
        self._say(_schema(path, unit, **transform), record)

    def _say(self, schema: Schema, record: str, **body: Any) -> None:
        times = (np.arange(3, dtype=np.int64) * 2000 + self._unit.boot_ms - 4000,)
        batch = Batch(schema, times, (np.full(3, LIE, np.int64),))
        self._world.cloud.arrive(self._unit.schema(schema))
        self._world.cloud.arrive(self._unit.data(batch, records=(record,), **body))


def _schema(path: str, unit: str, **transform: Any) -> Schema:
    return Schema((Column(path, unit, "int", "1", "0", Transform(**transform), 0),))
