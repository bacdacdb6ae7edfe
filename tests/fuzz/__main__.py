"""``python -m tests.fuzz [TARGET…] [--seconds N] [--seed N]``: fuzz targets one after the other.

``--replay FILE`` gives one input to one target, ``--shrink FILE`` makes it smaller first and writes it to ``found/``.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from tests.fuzz import runner
from tests.fuzz.shrink import shrink
from tests.fuzz.target import FOUND, load, names


def main(arguments: list[str]) -> int:
    """Exit code 1 if a law is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(names())}; all if none is named"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the first process (1)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="an input for the one target that is named")
    parser.add_argument(
        "--shrink", type=Path, metavar="FILE", help="the same, made smaller and kept in tests/fuzz/found"
    )
    chosen = parser.parse_args(arguments)
    if chosen.replay or chosen.shrink:
        if len(chosen.targets) != 1:
            parser.error("name the one target that the file is for")
        return _one(chosen.targets[0], chosen.replay, chosen.shrink)
    if not runner.available():
        print(runner.missing(platform.machine()), file=sys.stderr)
        return 1
    return max([_long(name, chosen.seconds, chosen.seed) for name in chosen.targets or names()])


def _one(name: str, replay: Path | None, shrinking: Path | None) -> int:
    target = load(name)
    data = (replay or shrinking or Path()).read_bytes()
    if shrinking:
        data = shrink(target.check, data)
        kept = FOUND / f"{name}-{shrinking.name.rpartition('-')[2][:12]}"
        kept.write_bytes(data)
        print(f"{len(data)} bytes in {kept}; give it a name that says what it is")
    target.check(data)
    print(f"holds: {target.law}")
    return 0


def _long(name: str, seconds: int, seed: int) -> int:
    keep = Path(tempfile.mkdtemp(prefix=f"carnet-fuzz-{name}-"))
    outcome = runner.fuzz_for(name, keep, seconds=seconds, seed=seed)
    print(
        f"{name:14} {outcome.runs:9} inputs in {outcome.seconds:5.0f} s: {'broken' if outcome.broken else 'holds'}",
        flush=True,
    )
    if outcome.broken is None:
        shutil.rmtree(keep)
        return 0
    print(f"law: {load(name).law}\n{outcome.said}\npython -m tests.fuzz {name} --shrink {outcome.broken}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
