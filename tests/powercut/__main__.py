"""``python -m tests.powercut [--seeds N] [--guest]``: every cut of every story N times, then on a file system."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from tests.powercut.recording import record
from tests.powercut.replay import replay, short_place
from tests.system.guest import uml
from tests.system.guest.casework import CASES, run_cases

GUEST_S_MAX = 1800
STORIES = ("car", "cloud", "owner")


def main(arguments: list[str]) -> int:
    """Exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.powercut", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many times every cut is made, with other luck (1)")
    parser.add_argument("--guest", action="store_true", help="then every cut of ext4 over dm-log-writes, in the guest")
    chosen = parser.parse_args(arguments)
    done = [_recorded(name, chosen.seeds) for name in STORIES]
    if chosen.guest:
        done.append(_on_a_file_system())
    return 0 if all(done) else 1


def _recorded(name: str, seeds: int) -> bool:
    module = f"tests.powercut.{name}"
    with short_place() as place:
        operations = record(module, place)
        try:
            count = sum(
                replay(importlib.import_module(module), operations, place / "cut", seed) for seed in range(seeds)
            )
        except AssertionError as error:
            print(error, file=sys.stderr)
            return False
    print(f"{name}: {count} disks of {len(operations)} operations, no promise broken", flush=True)
    return True


def _on_a_file_system() -> bool:
    """About four minutes."""
    reason = uml.missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return False
    with tempfile.TemporaryDirectory() as place:
        case = CASES / "test_power_cuts.py"
        outcome = run_cases(case, Path(place, "report.xml"), GUEST_S_MAX, {"CARNET_CUTS": "all"})
    print(outcome.output, flush=True)
    return outcome.code == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
