#!/usr/bin/env python3
"""Measure which lines and branches the tests run, and compare with what is promised.

    .venv/bin/python tools/cover.py [--jobs N] [--report] [TEST …]

What `tools/mutate.py` changes must be covered wholly, every package to `PERCENT_MIN`; else the exit code is 1, with the
lines and branches that nobody runs. ``--report`` judges what the last run has measured.

Law: a branch that no test takes is one whose mutants all survive.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mutation.parts import PARTS

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("carnet", "agent", "cloud", "simulator", "attacks", "store", "world", "system/test_demo.py")
"""Of the folder of tests; what they start as a program counts if it ends by itself or by SIGTERM."""
PACKAGES = ("carnet/", "agent/carnet_agent/", "cloud/carnet_cloud/", "simulator/carnet_simulator/")
PERCENT_MIN = 90.0
TIMEOUT_S = 1200
"""Whoever notes each line takes some times as long as a test may take else."""
COUNTED = ("num_statements", "num_branches", "covered_lines", "covered_branches", "missing_lines", "missing_branches")

Measured = dict[str, Any]
"""What coverage's JSON says of a file."""


def main() -> int:
    """0 if everything is covered as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="so many processes at once (1)")
    parser.add_argument("--report", action="store_true", help="run nothing, judge the last run")
    parser.add_argument("tests", nargs="*", default=[f"tests/{name}" for name in TESTS])
    asked = parser.parse_args()
    if not asked.report and (code := measure(asked.tests, asked.jobs)):
        return code
    files = measured()
    return max([report(name, {each: files[each] for each in of}, least) for name, of, least in promises(files)])


def measure(tests: Iterable[str], jobs: int) -> int:
    """Run the tests; the exit code of the first program that failed."""
    run = [sys.executable, "-m", "coverage"]
    pytest = ["-m", "pytest", "-q", f"--timeout={TIMEOUT_S}", "-n", str(jobs if jobs > 1 else 0)]
    steps = (["erase"], ["run", *pytest, *tests], ["combine", "-q"])
    codes = (subprocess.run([*run, *step], check=False, cwd=ROOT).returncode for step in steps)
    return next(filter(None, codes), 0)


def promises(files: Iterable[str]) -> Iterable[tuple[str, list[str], float]]:
    """Name, files and least percentage."""
    whole = {part.name: part.sources(ROOT) for part in PARTS}
    yield from ((name, found, 100.0) for name, found in whole.items())
    rest = sorted(set(files) - {file for found in whole.values() for file in found})
    for package in PACKAGES:
        yield f"rest of {Path(package).name}", [file for file in rest if file.startswith(package)], PERCENT_MIN


def measured() -> dict[str, Measured]:
    """What coverage says of each file, by its path from the root of the checkout."""
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", "-"]
    said = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout
    files: dict[str, Measured] = json.loads(said)["files"]
    return files


def report(name: str, files: dict[str, Measured], least: float) -> int:
    """One line, and what is missing where the promise is not kept; 1 if it is not."""
    total = {word: sum(each["summary"][word] for each in files.values()) for word in COUNTED}
    lines, branches = total["num_statements"], total["num_branches"]
    percent = 100 * (total["covered_lines"] + total["covered_branches"]) / max(lines + branches, 1)
    missing = f"{total['missing_lines']} and {total['missing_branches']} not run"
    print(f"{name:26} {percent:6.2f} %  {lines} lines, {branches} branches, {missing}")
    if percent >= least:
        return 0
    for file, each in files.items():
        if each["missing_lines"] or each["missing_branches"]:
            print(f"    {file}: lines {each['missing_lines']}, branches {each['missing_branches']}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
