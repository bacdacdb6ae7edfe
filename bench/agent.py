"""CPU of the whole agent beside a naive one: ``python bench/agent.py [--seconds 60] [--rates 2000 8000]``.

The product's own ``carnet-agent run`` with its defaults: buffer on disk, three grants that overlap (48 signals at 1 Hz,
five boxes), windows of 60 s, checkpoints each 10 s, drains of 50 ms, a real Mosquitto and the real receiver that
acknowledges. Its bus is a UDP socket on loopback that carries ``struct can_frame`` through the same reader; the
simulated car sends from a process of its own. UDP has no CAN filter, so every frame reaches the agent, granted or not.

Two naive agents (bench/rig/naive.py) hear the same frames at the same time: one writes a row for every sample of the
48 signals, one thins them to 1 Hz first; both send to nobody. Counted is the CPU time of each process, user and
system, in the same seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.receiver import broker
from bench.rig.line import RECIPIENTS
from bench.rig.measure import cpu_s, machine
from bench.rig.programs import Programs
from bench.rig.unit import free_udp_port, make_unit, run_agent, status

SETTLE_S = 3


@dataclass(frozen=True, slots=True)
class Result:
    """At one rate; percents are of one core."""

    rate: int
    frames: int
    dropped: int
    agent_percent: float
    naive_percent: float
    thinning_percent: float
    ratio: float
    thinning_ratio: float
    agent_us_per_frame: float
    rows_acknowledged: int


def measure(folder: Path, rate: int, seconds: int) -> Result:
    """One agent and one naive agent in front of one car."""
    bus, naive_buses = free_udp_port(), {keeps: free_udp_port() for keeps in ("every", "thin")}
    ports = [str(bus), *map(str, naive_buses.values())]
    programs = Programs(folder)
    mosquitto, port = broker(folder)
    try:
        make_unit(folder, port)
        line = ("-m", "bench.rig.line")
        programs.start_ready("cloud", *line, "cloud", str(folder), str(port), "background")
        agent = programs.start("agent", __file__, "--agent", str(folder), str(bus))
        others = [
            programs.start_ready(keeps, "-m", "bench.rig.naive", str(port), str(folder), keeps)
            for keeps, port in naive_buses.items()
        ]
        programs.until(lambda: len(status(folder).get("in_force", ())) == len(RECIPIENTS), "agent")
        length_s = str(seconds + 2 * SETTLE_S + 2)
        car = programs.start_ready("car", *line, "car", str(rate), length_s, "", *ports)
        programs.tell(car)
        time.sleep(SETTLE_S)
        return _window(folder, rate, seconds, [agent.pid, *(each.pid for each in others)])
    finally:
        programs.close()
        mosquitto.terminate()
        mosquitto.wait()


def _window(folder: Path, rate: int, seconds: int, programs: list[int]) -> Result:
    before, began = status(folder), time.monotonic()
    spent = [cpu_s(pid) for pid in programs]
    time.sleep(seconds)
    agent_s, naive_s, thinning_s = (cpu_s(pid) - at for pid, at in zip(programs, spent, strict=True))
    took_s, after = time.monotonic() - began, status(folder)
    buses = [facts["buses"]["can0"] for facts in (before, after)]
    frames = buses[1]["frames"] - buses[0].get("frames", 0)
    if frames < 0.97 * rate * took_s or after["failures"]:
        raise SystemExit(f"the bench is wrong: {frames} frames in {took_s:.1f} s at {rate}/s, {after['failures']}")
    return Result(
        rate=rate,
        frames=frames,
        dropped=buses[1].get("dropped", 0),
        agent_percent=round(100 * agent_s / took_s, 3),
        naive_percent=round(100 * naive_s / took_s, 2),
        thinning_percent=round(100 * thinning_s / took_s, 2),
        ratio=round(naive_s / agent_s, 1),
        thinning_ratio=round(thinning_s / agent_s, 1),
        agent_us_per_frame=round(1e6 * agent_s / frames, 2),
        rows_acknowledged=after["counters"].get("rows_acknowledged", 0),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="measured at each rate")
    parser.add_argument("--rates", type=int, nargs="+", default=[2000, 8000], help="frames per second")
    parser.add_argument("--agent", nargs=2, metavar=("FOLDER", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.agent:
        return run_agent(Path(options.agent[0]), int(options.agent[1]))
    results = []
    print("frames/s  agent %  us/frame  dropped   naive, rows: %  x   naive, 1 Hz: %  x")
    for rate in options.rates:
        with tempfile.TemporaryDirectory() as name:
            found = measure(Path(name), rate, options.seconds)
        results.append(asdict(found))
        print(
            f"{found.rate:8}  {found.agent_percent:7.3f}  {found.agent_us_per_frame:8.2f}  {found.dropped:7}"
            f"  {found.naive_percent:15.2f}  {found.ratio:4.1f}"
            f"  {found.thinning_percent:12.2f}  {found.thinning_ratio:4.1f}"
        )
    print(
        json.dumps(
            {"bench": "agent", **machine(), "load": os.getloadavg()[0], "seconds": options.seconds, "rows": results}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
