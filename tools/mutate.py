#!/usr/bin/env python3
"""Change the source that decides what leaves, one small change at a time, and see each change noticed by a test.

    .venv/bin/python tools/mutate.py [--part gate|consent|envelope|buffer] [--jobs N] [--file WORD] [--quick S]

Ends with 0 if every change was noticed or stands in ``docs/mutation.md`` with the reason why no test can tell, and if
nothing stands there that was noticed after all; else with 1, and the rows that are missing or too many.

Law: a test that never failed has not been tested.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from mutation import forks, runner
from mutation.mutants import Mutant, mutants_of
from mutation.parts import PARTS, Part
from mutation.reach import Reach
from mutation.survivors import row, written

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "mutation.md"


def main() -> int:
    """Exit code 0 if there is no survivor without a reason and no reason without its survivor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[part.name for part in PARTS], help="only this one")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes at once (1)")
    parser.add_argument("--file", default="", help="only files whose path holds this word")
    parser.add_argument("--quick", type=float, default=math.inf, help="so many seconds of tests for a mutant (all)")
    asked = parser.parse_args()
    runner.prepare(ROOT)
    known = written(DOCUMENT) if DOCUMENT.exists() else {}
    chosen = [part for part in PARTS if asked.part in (None, part.name)]
    return max([run(part, asked, known) for part in chosen])


def run(part: Part, asked: argparse.Namespace, known: dict[str, str]) -> int:
    """One part: its figures, its survivors without a reason, its reasons without a survivor."""
    started = time.monotonic()
    mutants = [each for file in part.sources(ROOT) if asked.file in file for each in mutants_of(ROOT, file)]
    print(f"{part.name}: {len(mutants)} mutants", flush=True)
    reach = runner.survey(part.sources(ROOT), part.tests)
    if reach.failed:
        print("the tests fail without any change:", *reach.failed, sep="\n  ")
        return 1
    reach.seconds_max = asked.quick
    results = judged(mutants, reach, part, asked.jobs)
    assert sorted(each.mutant for each in results) == sorted(each.name for each in mutants)
    survived = [each.mutant for each in results if each.verdict == forks.SURVIVED]
    unlisted = [name for name in survived if name not in known]
    names = {each.name for each in mutants}
    noticed = [name for name in known if name in names and name not in survived]
    print(
        f"{part.name}: {len(mutants)} mutants, {len(mutants) - len(survived)} noticed, {len(survived)} survived,"
        f" {len(unlisted)} of them without a reason; {time.monotonic() - started:.0f} s"
    )
    for name in noticed:
        print("noticed, and yet in docs/mutation.md:", row(name))
    return int(bool(unlisted or noticed))


def judged(mutants: Sequence[Mutant], reach: Reach, part: Part, jobs: int) -> list[runner.Result]:
    """Every result; a survivor is shown as a row for the document as soon as it is one."""

    def share(number: int) -> list[runner.Result]:
        found = []
        for result in forks.told(partial(_judge, mutants[number::jobs], reach, part)):
            found.append(result)
            if result.verdict == forks.SURVIVED:
                print(row(result.mutant), "" if result.reached else "(no test runs it)", flush=True)
        return found

    if jobs == 1:
        return share(0)
    with ThreadPoolExecutor(jobs) as pool:
        return [each for results in pool.map(share, range(jobs)) for each in results]


def _judge(mutants: Sequence[Mutant], reach: Reach, part: Part, say: Callable[[Any], None]) -> None:
    for result in runner.judge(mutants, reach, part.tests):
        say(result)


if __name__ == "__main__":
    sys.exit(main())
