"""How many times faster than others a block of frames is decoded: ``python bench/decode.py``.

The real mix of a Toyota RAV4 (can0 of the shared capture, frames that its DBC knows). cantools, opendbc's parser,
asammdf's extraction, C that cantools generates (the limit: gcc -O2, one loop, every value stored), and Carnet decode
such frames in turns; per turn the ratio of their CPU times to ours is taken, and the median of all turns is printed.
*raw* is ``decode``, *physical* is ``decode`` and ``physical``; nobody looks up labels. opendbc knows physical values
only, and checks checksums and counters as well. One block is compared value by value before.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.rig.decoders import Decoder, decoders
from bench.rig.measure import machine
from bench.rig.rivals import say_missing, versions
from carnet_agent.captures.capture import Capture
from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.parse import load_dbc
from carnet_agent.dbc.plan import Plan
from carnet_agent.decode import decode, physical
from carnet_agent.decoded import Decoded
from carnet_agent.frames import Frames

DATA = Path(os.environ.get("CARNET_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
DBC = DATA / "dbc" / "toyota_new_mc_pt_generated.dbc"
CAPTURE = DATA / "captures" / "toyota_rav4_2017.log.gz"
SIZES = (64, 256, 1000, 4000)
TURNS = 41
PACKAGES = ("numpy", "cantools", "opendbc", "asammdf")


@dataclass(frozen=True, slots=True)
class Result:
    """Medians over all turns; by the decoder's name nanoseconds per frame, and how many times ours that is."""

    frames: int
    kind: str
    ours_ns: float
    ns: dict[str, float]
    ratio: dict[str, float]
    samples_per_frame: float


def cpu_ns(work: Callable[[], object], frames: int) -> float:
    """CPU time of this thread per frame."""
    start = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - start) / frames


def real_mix(plan: Plan) -> Frames:
    """The frames of can0 that match a message."""
    capture = Capture(CAPTURE, plan.buses)
    frames = Frames.concat([block.frames for block in capture.blocks()])
    known = np.array([can_id for can_id, _ in plan.identifiers("can0")], np.uint32)
    return frames.take((frames.bus == 0) & np.isin(frames.can_id, known))


def carnet(plan: Plan, scaling: bool) -> Decoder:
    """Ours."""

    def work(block: Frames) -> Decoded:
        decoded = decode(plan, block)
        if scaling:
            physical(plan, decoded)
        return decoded

    def values(block: Frames) -> NDArray[np.float64]:
        decoded = decode(plan, block)
        return physical(plan, decoded) if scaling else decoded.raw.astype(np.float64)

    return Decoder("Carnet", lambda block: block, work, values, frames=16_000)


def decode_all(decoder: Decoder, blocks: list[Any]) -> None:
    """One turn of one decoder."""
    for block in blocks:
        decoder.decode(block)


def check(ours: Decoder, other: Decoder, block: Frames) -> None:
    """Nobody is quick by decoding less than we do, or something else."""
    expected, found = (np.sort(each.values(each.prepare(block))) for each in (ours, other))
    if other.all_of_them and not (len(found) == len(expected) and np.allclose(found, expected)):
        raise SystemExit(f"the bench is wrong: {other.name} gives other values")
    if len(found) < 0.9 * len(expected):
        raise SystemExit(f"the bench is wrong: {other.name} gives {len(found)} of {len(expected)} values")


def measure(decoders: list[Decoder], frames: Frames, size: int, kind: str) -> Result:
    """Turns of all of them, one after the other; the first is ours."""
    # Consecutive blocks, so that caches see what they see on a bus.
    blocks = [frames.take(slice(start, start + size)) for start in range(0, len(frames) - size, size)]
    ready = [[each.prepare(block) for block in blocks] for each in decoders]
    counts = [max(1, each.frames // size) for each in decoders]
    turns, samples = [], 0
    for turn in range(TURNS):
        times = []
        for decoder, prepared, count in zip(decoders, ready, counts, strict=True):
            chosen = [prepared[(turn * counts[0] + n) % len(prepared)] for n in range(count)]
            times.append(cpu_ns(partial(decode_all, decoder, chosen), count * size))
        turns.append(times)
        samples += len(decoders[0].values(blocks[turn % len(blocks)]))
    medians = {each.name: statistics.median(turn[n] for turn in turns) for n, each in enumerate(decoders)}
    ratios = {each.name: statistics.median(turn[n] / turn[0] for turn in turns) for n, each in enumerate(decoders)}
    ours = decoders[0].name
    return Result(size, kind, medians.pop(ours), medians, ratios, samples / TURNS / size)


def rounded(result: Result) -> dict[str, object]:
    """A row for the record."""
    ratio = {name: round(each, 2) for name, each in result.ratio.items()}
    ns = {name: round(each, 1) for name, each in result.ns.items()}
    return {"frames": result.frames, "kind": result.kind, "ours_ns": round(result.ours_ns, 1), "ns": ns, "ratio": ratio}


def show(results: list[Result]) -> None:
    """Nanoseconds per frame, and in brackets how many times ours that is."""
    names = list(results[-1].ns)
    print("CPU nanoseconds per frame, and how many times Carnet's that is")
    print(f"{'frames':>6} {'values':>9} {'Carnet':>7} " + " ".join(f"{name:>16}" for name in names))
    for result in results:
        cells = [f"{result.ns[name]:>7.0f} {result.ratio[name]:>7.2f}x" if name in result.ns else "-" for name in names]
        head = f"{result.frames:>6} {result.kind:>9} {result.ours_ns:>7.0f} "
        print(head + " ".join(f"{cell:>16}" for cell in cells))


def main() -> int:
    """Print a table and one JSON line."""
    if not CAPTURE.is_file():
        print("bench/decode: the shared vehicle data is missing: set CARNET_DATA to its folder", file=sys.stderr)
        return 1
    plan, _ = compile_plan([("can0", load_dbc(DBC))])
    frames = real_mix(plan)
    results = []
    with tempfile.TemporaryDirectory() as name:
        for kind in ("raw", "physical"):
            scaling = kind == "physical"
            all_of_them = [carnet(plan, scaling), *decoders(DBC, scaling, Path(name))]
            for other in all_of_them[1:]:
                check(all_of_them[0], other, frames.take(slice(5000, 6000)))
            results += [measure(all_of_them, frames, size, kind) for size in SIZES]
    say_missing()
    show(results)
    print(f"{results[0].samples_per_frame:.1f} samples per frame, {len(frames):,} frames, median of {TURNS} turns")
    record = {
        "bench": "decode",
        **machine(),
        **versions(*PACKAGES),
        "load": os.getloadavg()[0],
        "ratio": {f"{result.kind}_{result.frames}": round(result.ratio["cantools"], 1) for result in results},
        "rows": [rounded(result) for result in results],
    }
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
