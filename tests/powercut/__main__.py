"""``python -m tests.powercut [--seeds N]``: every cut of every story N times."""

from __future__ import annotations

import argparse
import importlib
import sys

from tests.powercut.recording import record
from tests.powercut.replay import replay, short_place

STORIES = ("car", "cloud", "owner")


def main(arguments: list[str]) -> int:
    """Exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.powercut", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many times every cut is made, with other luck (1)")
    chosen = parser.parse_args(arguments)
    done = [_recorded(name, chosen.seeds) for name in STORIES]
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
