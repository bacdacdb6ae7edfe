"""How many times faster than cantools a block of frames is decoded: ``python bench/decode.py``.

The real mix of a Toyota RAV4 (can0 of the shared capture, frames that its DBC knows). cantools and Carnet decode such
frames in turns; per turn the ratio of their CPU times is taken, and the median of all turns is printed. *raw* is
``decode`` against cantools without scaling, *physical* is ``decode`` and ``physical`` against cantools with it; neither
looks up labels.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cantools
import numpy as np

from carnet_agent.captures.capture import Capture
from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.parse import load_dbc
from carnet_agent.dbc.plan import Plan
from carnet_agent.decode import decode, physical
from carnet_agent.frames import Frames

DATA = Path(os.environ.get("CARNET_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
DBC = DATA / "dbc" / "toyota_new_mc_pt_generated.dbc"
CAPTURE = DATA / "captures" / "toyota_rav4_2017.log.gz"
SIZES = (64, 256, 1000, 4000)
TURNS = 41
CANTOOLS_FRAMES = 1000
"""Frames per turn for cantools; of ours about sixteen times as many, so that both get a similar time."""


@dataclass(frozen=True, slots=True)
class Result:
    """Medians over all turns."""

    frames: int
    ours: str
    cantools_ns: float
    ours_ns: float
    ratio: float
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


def measure(plan: Plan, frames: Frames, size: int, scaling: bool) -> Result:
    """Turns of cantools and ours, one after the other."""
    database: Any = cantools.database.load_file(DBC, strict=False)
    ids, rows = frames.can_id.tolist(), [bytes(row) for row in frames.payload]
    ratios, theirs, ours, samples = [], [], [], 0
    # Consecutive blocks, so that caches see what they see on a bus.
    blocks = [frames.take(slice(start, start + size)) for start in range(0, len(frames) - size, size)]
    each = max(1, 16 * CANTOOLS_FRAMES // size)

    def with_cantools(start: int) -> None:
        for place in range(start, start + CANTOOLS_FRAMES):
            database.decode_message(ids[place], rows[place], decode_choices=False, scaling=scaling)

    def with_carnet(chosen: Sequence[Frames]) -> None:
        for block in chosen:
            decoded = decode(plan, block)
            if scaling:
                physical(plan, decoded)

    for turn in range(TURNS):
        start = turn * 977 % (len(frames) - CANTOOLS_FRAMES)
        chosen = [blocks[(turn * each + n) % len(blocks)] for n in range(each)]
        theirs.append(cpu_ns(lambda start=start: with_cantools(start), CANTOOLS_FRAMES))  # type: ignore[misc]
        ours.append(cpu_ns(lambda chosen=chosen: with_carnet(chosen), each * size))  # type: ignore[misc]
        ratios.append(theirs[-1] / ours[-1])
        samples += len(decode(plan, chosen[0]))
    return Result(
        size,
        "physical" if scaling else "raw",
        statistics.median(theirs),
        statistics.median(ours),
        statistics.median(ratios),
        samples / TURNS / size,
    )


def main() -> int:
    """Print a table and one JSON line."""
    if not CAPTURE.is_file():
        print("bench/decode: the shared vehicle data is missing: set CARNET_DATA to its folder", file=sys.stderr)
        return 1
    plan, _ = compile_plan([("can0", load_dbc(DBC))])
    frames = real_mix(plan)
    results = [measure(plan, frames, size, scaling) for scaling in (False, True) for size in SIZES]
    print(f"{'frames':>6} {'values':>9} {'cantools ns/frame':>18} {'Carnet ns/frame':>16} {'ratio':>7}")
    for result in results:
        times = f"{result.cantools_ns:>18.0f} {result.ours_ns:>16.0f}"
        print(f"{result.frames:>6} {result.ours:>9} {times} {result.ratio:>6.1f}x")
    print(f"{results[0].samples_per_frame:.1f} samples per frame, {len(frames):,} frames, median of {TURNS} turns")
    record = {
        "bench": "decode",
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cantools": cantools.__version__,
        "ratio": {f"{result.ours}_{result.frames}": round(result.ratio, 1) for result in results},
    }
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
