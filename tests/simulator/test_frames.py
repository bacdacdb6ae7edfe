"""Frames of the simulated car: at their cycle times, readable by any reader of the DBC, the same for the same seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

from carnet.checksums import crc8
from carnet_simulator.block import Block
from carnet_simulator.dbcs import demo_databases
from carnet_simulator.encode import Field
from carnet_simulator.faults import Faults
from carnet_simulator.frames import FrameSource, drive
from carnet_simulator.vehicle import Vehicle

DATABASES = demo_databases()
MESSAGES = {
    (bus, message.frame_id, message.is_extended_frame): message
    for bus, (_, database) in enumerate(DATABASES)
    for message in database.messages
}


def whole(source: FrameSource, cuts: list[int]) -> list[bytes]:
    blocks = [source.frames_until(cut) for cut in cuts]
    return [
        b"".join(np.ascontiguousarray(getattr(block, name)).tobytes() for block in blocks) for name in Block.__slots__
    ]


def key(block: Block, row: int) -> tuple[int, int, bool]:
    return int(block.bus[row]), int(block.can_id[row]), bool(block.extended[row])


def decode(block: Block, row: int) -> dict[str, Any]:
    values = MESSAGES[key(block, row)].decode(block.payload[row, : block.length[row]].tobytes(), decode_choices=False)
    assert isinstance(values, dict)
    return values


@pytest.mark.parametrize("faults", [Faults(), Faults(0.1, 0.1, 0.1, 0.1, 0.1, 0.1)], ids=["clean", "faulty"])
@pytest.mark.parametrize("rate", [None, 2000.0])
def test_the_same_seed_gives_the_same_bytes_however_time_is_cut(faults: Faults, rate: float | None) -> None:
    """One block, many blocks, odd blocks, an empty block."""
    once = whole(drive(DATABASES, 3, rate=rate, faults=faults), [5000])
    assert once == whole(drive(DATABASES, 3, rate=rate, faults=faults), list(range(0, 5001, 50)))
    assert once == whole(drive(DATABASES, 3, rate=rate, faults=faults), [1, 17, 17, 20, 4999, 10, 5000])
    assert once != whole(drive(DATABASES, 4, rate=rate, faults=faults), [5000])


def test_every_message_comes_at_its_cycle_time() -> None:
    """None missing, none twice, all in order."""
    block = drive(DATABASES, 1).frames_until(10_000)
    assert (np.diff(block.time_ns) >= 0).all()
    count = Counter(key(block, row) for row in range(len(block)))
    assert set(count) == set(MESSAGES)
    for name, message in MESSAGES.items():
        assert message.cycle_time
        assert abs(count[name] - 10_000 / message.cycle_time) <= 1


def test_the_rate_is_the_number_of_frames_per_second() -> None:
    """Of all buses together."""
    assert len(drive(DATABASES, 1, rate=2000).frames_until(10_000)) == pytest.approx(20_000, rel=0.005)


def test_every_frame_decodes_to_the_cars_readings() -> None:
    """What cantools reads back is what the physics said, to half a step of the signal's resolution."""
    block = drive(DATABASES, 8).frames_until(30_000)
    vehicle = Vehicle(Random(8), 1_800_000_000_000)
    readings = [vehicle.step() for _ in range(1500)]
    signals = {(name, signal.name): signal for name, message in MESSAGES.items() for signal in message.signals}
    seen = set()
    for row in range(len(block)):
        for name, value in decode(block, row).items():
            signal = signals[key(block, row), name]
            expected = readings[int(block.time_ns[row]) // 20_000_000].get(name)
            if expected is None:
                assert name in {"Counter", "Checksum", "Group", "Module", "Wheel", "VinPart"}
                continue
            seen.add(name)
            tolerance = abs(expected) * 1e-6 if signal.is_float else float(abs(signal.scale)) * 0.501
            assert value == pytest.approx(expected, abs=tolerance), name
    assert seen == set(readings[0])


def test_multiplexed_pages_come_in_turn() -> None:
    """Plain (tyres, VIN) and nested (battery modules inside a group)."""
    block = drive(DATABASES, 1).frames_until(4000)
    pages: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    for row in range(len(block)):
        if block.can_id[row] in (0x210, 0x420, 0x18FEEC21):
            pages[int(block.can_id[row])].append(tuple(decode(block, row)))
    for can_id, count in ((0x210, 5), (0x420, 4), (0x18FEEC21, 3)):
        assert len(set(pages[can_id][:count])) == count
        assert pages[can_id][count] == pages[can_id][0]


def test_the_vin_is_spread_over_three_frames() -> None:
    """Put together it is the car's; no single frame holds it."""
    source = drive(DATABASES, 1)
    block = source.frames_until(4000)
    parts = {}
    for row in np.flatnonzero(block.can_id == 0x18FEEC21):
        parts[int(block.payload[row, 0])] = block.payload[row, 1 : block.length[row]].tobytes().rstrip(b"\0")
    assert b"".join(parts[part] for part in range(3)).decode() == source.vehicle.vin


def test_counters_count_and_checksums_hold() -> None:
    """Counter modulo 16; the last byte is the CRC of docs/mapping.md."""
    block = drive(DATABASES, 1).frames_until(2000)
    for can_id in (0x100, 0x104, 0x120, 0x140):
        rows = np.flatnonzero(block.can_id == can_id)
        counters = [decode(block, row)["Counter"] for row in rows.tolist()]
        assert all((after - before) % 16 == 1 for before, after in pairwise(counters))
        assert (crc8(block.can_id[rows], block.payload[rows], block.length[rows]) == block.payload[rows, 7]).all()


def test_equal_identifiers_of_both_lengths_stand_side_by_side() -> None:
    """0x130 with 11 bits is the gear, with 29 bits the odometer."""
    block = drive(DATABASES, 1).frames_until(1000)
    rows = np.flatnonzero(block.can_id == 0x130)
    assert {bool(extended) for extended in block.extended[rows]} == {True, False}


@pytest.mark.parametrize("value", [-1e9, 1e9])
def test_a_value_out_of_range_is_held_at_the_range(value: float) -> None:
    """It must not become a 'not available' code, nor run over into another signal."""
    for message in MESSAGES.values():
        for signal in message.signals:
            if signal.is_float or signal.minimum == signal.maximum:
                continue
            field = Field.of(signal)
            raw = int(field.raw(np.array([value]))[0])
            assert field.raw_min <= raw <= field.raw_max
            assert field.not_available is None or not field.raw_min <= field.not_available <= field.raw_max
