"""Collect against an oracle that shares nothing with it: random grants, random cuts, every sample and every drop."""

from __future__ import annotations

import random

import pytest

from carnet.narrowing import Ceiling, Mode
from carnet.signals import DeliveryClass
from carnet_agent.captures.capture import Capture
from carnet_agent.collect import Collector, Cut
from carnet_agent.dbc.plan import Match
from carnet_agent.frames import Frames
from carnet_simulator.faults import Faults
from tests.agent.collectkit import (
    Car,
    car,
    demo_car,
    grant,
    plain,
    random_grants,
    simulated,
    spellings,
    written_out,
)
from tests.conftest import CHECKOUT, shared_data

FAULTS = Faults(drop=0.02, duplicate=0.02, corrupt=0.02, stuck=0.02, short=0.02, not_available=0.02)


def compare(the_car: Car, frames: Frames, chance: random.Random, paths: list[str], *, cells: bool) -> tuple[int, int]:
    """Collect in random blocks, with random cuts, checkpoints and changes of grants; returns (samples, drops)."""
    collector, oracle = the_car.collector(), the_car.oracle()
    rows = plain(frames)
    phases = [random_grants(chance, paths, cells) for _ in range(3)]
    if chance.random() < 0.5:
        # the same grants but for one record: most columns stay
        phases[1] = {**phases[0], **dict(list(phases[1].items())[:1])}
    last_ms = int(frames.time_ns[-1] // 1_000_000)
    begin_ms = int(frames.time_ns[0] // 1_000_000)
    changes = {begin_ms + (last_ms - begin_ms) * n // 3: phase for n, phase in enumerate(phases)}
    moments = sorted({*changes, *(chance.randint(begin_ms, last_ms) for _ in range(12))})
    cuts: list[Cut] = []
    at = 0
    for number, moment in enumerate(moments):
        end = int(frames.time_ns.searchsorted(moment * 1_000_000))
        _feed(collector, frames, at, end, chance)
        for row in rows[at:end]:
            oracle.feed(row)
        at = end
        if moment in changes:
            grants = [grant(number, items) for number, items in enumerate(changes[moment].values())]
            cuts += collector.set_grants(grants, Mode.NORMAL, Ceiling(), moment)
            oracle.set_grants(changes[moment], moment)
        elif number % 4 == 1:
            collector.since_checkpoint(moment)
        elif number % 4 == 2:
            collector.advance(moment)
        else:
            classes = chance.sample(list(DeliveryClass), chance.randint(1, 3))
            cuts += collector.cut(moment, classes)
            oracle.cut(moment, {str(one) for one in classes})
    _feed(collector, frames, at, len(frames), chance)
    for row in rows[at:]:
        oracle.feed(row)
    cuts += collector.cut(last_ms + 1, ending=True)
    oracle.cut(last_ms + 1, {str(one) for one in DeliveryClass}, ending=True)
    found = written_out(cuts, spellings(phases))
    assert set(found) == set(oracle.result)
    for key, samples in oracle.result.items():
        assert found[key] == samples, key
    assert collector.dropped == oracle.dropped
    return sum(len(samples) for samples in found.values()), sum(oracle.dropped.values())


def _feed(collector: Collector, frames: Frames, at: int, end: int, chance: random.Random) -> None:
    while at < end:
        block = min(end, at + chance.choice([1, 7, 64, 300, 2000]))
        collector.feed_frames(frames.take(slice(at, block)))
        at = block


@pytest.mark.parametrize("seed", range(12))
def test_every_record_gets_what_the_oracle_allows(seed: int) -> None:
    """Simulated car, with faults on the bus in every second run."""
    chance = random.Random(seed)
    the_car = demo_car()
    frames = simulated(20, seed, faults=FAULTS if seed % 2 else None)
    paths = [one.path for one in the_car.mapped if one.category != "unmapped"]
    samples, drops = compare(the_car, frames, chance, paths, cells=True)
    assert samples > 100
    assert (drops > 0) == bool(seed % 2)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_holds_on_a_real_drive(seed: int) -> None:
    """A Toyota with checksums, as it was recorded."""
    chance = random.Random(seed)
    the_car = _shared_car("toyota_new_mc_pt_generated")
    frames = _captured(the_car, "toyota_rav4_2017.log.gz", 12_000)
    paths = [one.path for one in the_car.mapped if one.category != "unmapped"]
    samples, _ = compare(the_car, frames, chance, paths, cells=False)
    assert samples > 100


@pytest.mark.parametrize("seed", range(3))
def test_the_same_holds_for_parameter_groups(seed: int) -> None:
    """A tractor that says "not available" in the way of J1939."""
    chance = random.Random(seed)
    the_car = _shared_car("CSS-Electronics-SAE-J1939-DEMO", match="pgn", bus="can1")
    frames = _captured(the_car, "tractor_j1939.log.gz", 12_000)
    # what nobody has mapped is granted by its path: only there does the tractor leave signals out
    samples, _ = compare(the_car, frames, chance, [one.path for one in the_car.mapped], cells=False)
    assert samples > 20


def _shared_car(name: str, match: Match = "id", bus: str = "can0") -> Car:
    folder = shared_data() / "dbc"
    return car(folder / f"{name}.dbc", CHECKOUT / "dbc" / f"{name}.map.toml", bus=bus, match=match)


def _captured(the_car: Car, name: str, count: int) -> Frames:
    """The first frames of a capture's first bus."""
    capture = Capture(shared_data() / "captures" / name, the_car.plan.buses)
    frames: list[Frames] = []
    for block in capture.blocks():
        frames.append(block.frames.take(block.frames.bus == 0))
        if sum(map(len, frames)) >= count:
            break
    return Frames.concat(frames).take(slice(0, count))
