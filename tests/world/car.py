"""The car of the world: four messages whose every reading occurs once, so that a value names the frame it came from.

Law: this knows physics and bytes, and nothing of grants. The VIN is on the bus like anything else and must never leave.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

import cantools
import numpy as np

from carnet_agent.assembly import identifiers_of
from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.mapping import MappedSignal, load_mapping
from carnet_agent.dbc.parse import parse_dbc
from carnet_agent.dbc.plan import Plan
from carnet_agent.frames import Frames
from tests.agent import collect_oracle
from tests.agent.collect_oracle import Oracle

SPEED, ODOMETER = "Vehicle.Speed", "Vehicle.TraveledDistance"
LATITUDE, LONGITUDE = collect_oracle.LATITUDE, collect_oracle.LONGITUDE
IGNITION, SERVICE = "Vehicle.LowVoltageSystemState", "Vehicle.Service.DistanceToService"

MOTION, POSITION, BODY, IDENTITY = 0x100, 0x18F00101, 0x200, 0x300
PERIOD_MS = {MOTION: 200, POSITION: 1000, BODY: 1000, IDENTITY: 5000}
MESSAGE_OF = {SPEED: MOTION, ODOMETER: MOTION, LATITUDE: POSITION, LONGITUDE: POSITION, IGNITION: BODY, SERVICE: BODY}
PRIVATE = {SPEED, ODOMETER, LATITUDE, LONGITUDE}
"""Paths that a guest's drive does not give."""
LOCATION = {LATITUDE, LONGITUDE}

DBC = f"""VERSION ""
BU_: Car
BO_ {MOTION} Motion: 8 Car
 SG_ Speed : 0|32@1+ (0.01,0) [0|0] "km/h" Car
 SG_ Odometer : 32|32@1+ (0.1,0) [0|0] "km" Car
BO_ {POSITION | 1 << 31} Position: 8 Car
 SG_ Latitude : 0|32@1- (1E-07,0) [0|0] "degrees" Car
 SG_ Longitude : 32|32@1- (1E-07,0) [0|0] "degrees" Car
BO_ {BODY} Body: 8 Car
 SG_ Ignition : 0|8@1+ (1,0) [0|0] "" Car
 SG_ Service : 8|32@1+ (1,0) [0|0] "km" Car
BO_ {IDENTITY} Identity: 8 Car
 SG_ Vin : 0|64@1+ (1,0) [0|0] "" Car
""".encode()

_ROWS = (
    ("Motion", "Speed", SPEED, "km/h", "driving", "personal"),
    ("Motion", "Odometer", ODOMETER, "km", "driving", "personal"),
    ("Position", "Latitude", LATITUDE, "degrees", "location", "special"),
    ("Position", "Longitude", LONGITUDE, "degrees", "location", "special"),
    ("Body", "Ignition", IGNITION, "", "maintenance", "low"),
    ("Body", "Service", SERVICE, "km", "maintenance", "low"),
)
MAPPING = (
    f'[dbc]\nname = "world.dbc"\nsha256 = "{hashlib.sha256(DBC).hexdigest()}"\n'
    + "".join(
        f'[[signal]]\nmessage = "{message}"\nsignal = "{signal}"\npath = "{path}"\nunit = "{unit}"\n'
        f'category = "{category}"\nsensitivity = "{sensitivity}"\n'
        for message, signal, path, unit, category, sensitivity in _ROWS
    )
).encode()


@dataclass(frozen=True)
class Frame:
    """One frame as the car sent it."""

    true_ms: int
    can_id: int
    data: bytes

    @property
    def extended(self) -> bool:
        return self.can_id > 0x7FF


class Car:
    """Drives from ``start_ms`` on; `frames_until` gives each frame once."""

    def __init__(self, random: Random, start_ms: int, number: int = 0) -> None:
        """No reading of a car with another ``number`` is one of this."""
        self._number = number
        self._next_ms = {can_id: start_ms + number * 7 for number, can_id in enumerate(PERIOD_MS)}
        self._count = dict.fromkeys(PERIOD_MS, 0)
        self._random = random
        self.vin = b"W" + bytes(random.randrange(33, 256) for _ in range(7))
        self._speed = 1_000_000 * (1 + number)
        self._service = 90_000 + 100_000 * number

    def sleep(self, length_ms: int) -> None:
        """Nothing is sent for so long."""
        self._next_ms = {can_id: next_ms + length_ms for can_id, next_ms in self._next_ms.items()}

    def frames_until(self, now_ms: int) -> list[Frame]:
        """What came since the last call, in the order of time."""
        found = []
        for can_id, period_ms in PERIOD_MS.items():
            while self._next_ms[can_id] <= now_ms:
                found.append(Frame(self._next_ms[can_id], can_id, self._data(can_id)))
                self._next_ms[can_id] += period_ms
        return sorted(found, key=lambda frame: (frame.true_ms, frame.can_id))

    def _data(self, can_id: int) -> bytes:
        self._count[can_id] += 1
        count = self._count[can_id]
        if can_id == MOTION:
            # half a kilometre per hour and more from sample to sample: rounding does not make two of them one
            self._speed += self._random.randrange(60, 90)
            return _u32(self._speed) + _u32(5_000_000 * (1 + self._number) + count)
        if can_id == POSITION:
            return _u32(480_000_000 + self._number * 90_000_000 + count * 20_000) + _u32(110_000_000 + count * 30_000)
        if can_id == BODY:
            self._service -= 1
            return bytes([int(count // 40 % 3 != 2)]) + _u32(self._service) + bytes(3)
        return self.vin


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


@dataclass(frozen=True)
class Decoding:
    """The car's database, compiled for the agent and parsed for the oracle."""

    plan: Plan
    mapped: tuple[MappedSignal, ...]
    database: Any

    def identifiers(self, wanted: Any) -> Any:
        return identifiers_of(self.plan)(wanted)

    def oracle(self) -> Oracle:
        mapping = tomllib.loads(MAPPING.decode())
        return Oracle(self.database, collect_oracle.signals_of(self.database, mapping, "Vehicle.Private.can0.world"))


@lru_cache(maxsize=1)
def decoding() -> Decoding:
    """Compiled once a process."""
    plan, losses = compile_plan([("can0", parse_dbc(DBC, "world.dbc"))])
    assert not losses
    units = {(info.message, info.name): info.unit for info in plan.signals}
    mapping = load_mapping(MAPPING, hashlib.sha256(DBC).hexdigest(), units)
    mapped = tuple(mapping.path_of(info.bus, info.dbc, info.message, info.name) for info in plan.signals)
    return Decoding(plan, mapped, cantools.database.load_string(DBC.decode(), "dbc"))


def block(frames: list[Frame], boot_ms: list[int]) -> Frames:
    """Frames as a bus reader hands them over."""
    payload = np.frombuffer(b"".join(frame.data for frame in frames), np.uint8).reshape(len(frames), 8).copy()
    return Frames(
        bus=np.zeros(len(frames), np.uint8),
        can_id=np.array([frame.can_id for frame in frames], np.uint32),
        flags=np.array([frame.extended for frame in frames], np.uint8),
        length=np.full(len(frames), 8, np.uint8),
        payload=payload,
        time_ns=np.array(boot_ms, np.int64) * 1_000_000,
    )
