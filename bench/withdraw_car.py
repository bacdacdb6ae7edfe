"""From a withdrawal to silence in the car: ``python bench/withdraw_car.py [--withdrawals 20]``, in the guest.

The agent listens to vcan0 and is connected to a real Mosquitto; the owner's own tool withdraws over the consent API.
Between all of them lie 100 ms round trip and 2 % loss (netem). Measured is the time from the start of the tool's
withdrawal until the kernel holds back every frame from the agent (``/proc/net/can``: nobody asks for one any more), so
that the tool's own requests and the journal's and the store's fsyncs are in it.

The guest's system calls are 25 to 45 times slower than this machine's: the figure is an upper bound.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from bench.rig.far import in_guest, move_away
from bench.rig.measure import machine, percentile
from carnet.cli import main as owner

if TYPE_CHECKING:
    from tests.system.guest.vcanroad import VcanRoad

POLL_S = 0.01
SILENT_S_MAX = 60.0


def withdraw(road: VcanRoad) -> float:
    """Milliseconds from the call of the tool until the kernel hands out nothing."""
    from tests.system.guest.vcanroad import kernel_filters

    road.give()
    called = time.monotonic()
    with redirect_stdout(io.StringIO()):
        code = owner(["owner", "withdraw", road.record, *road.address()])
    if code:
        raise SystemExit(f"the bench is wrong: the owner's tool ended with {code}")
    returned = time.monotonic()
    while kernel_filters():
        if time.monotonic() > called + SILENT_S_MAX:
            raise SystemExit(f"the bench is wrong: the agent still listens {road.logs()}")
        time.sleep(POLL_S)
    silent = time.monotonic()
    print(f"withdrawn after {1000 * (returned - called):.0f} ms, silent after {1000 * (silent - called):.0f} ms")
    return 1000 * (silent - called)


def measure(count: int) -> list[float]:
    """Of so many withdrawals, each of a consent of its own."""
    # only in the guest is there what the road's certificates are made with on the path
    from tests.system.guest.vcanroad import VcanRoad

    with tempfile.TemporaryDirectory() as name:
        road = VcanRoad(Path(name))
        try:
            road.begin()
            move_away()
            return [withdraw(road) for _ in range(count)]
        finally:
            road.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--withdrawals", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two withdrawals")
    parser.add_argument("--in-guest", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    count = 2 if options.quick else options.withdrawals
    if not options.in_guest:
        return in_guest("withdraw_car", ["--withdrawals", str(count)])
    values = measure(count)
    figures = {"p50": statistics.median(values), "p99": percentile(values, 0.99), "max": max(values)}
    print("silent ms:  " + "  ".join(f"{key} {value:.0f}" for key, value in figures.items()))
    rounded = {key: round(value) for key, value in figures.items()}
    print(json.dumps({"bench": "withdraw_car", **machine(), "withdrawals": count, "silent_ms": rounded}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
