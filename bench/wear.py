"""What a unit's disk takes in an hour of driving: ``python bench/wear.py [--minutes 60]``. Needs strace.

The unit of ``bench/onwire.py`` (product defaults: 48 signals at 1 Hz in three grants that overlap, five boxes, windows
of 60 s, each acknowledged) with its databases on a real file system, on a clock of its own, while strace notes every
write and fsync; once with the checkpoints of the open window each 10 s, and once without any. *offline*: nobody
acknowledges.

*log* is what commits write to the write-ahead log, *database* what SQLite copies from it now and then. The file
system's own writes and the card's inner ones come on top.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.onwire import Line
from bench.rig.measure import machine
from bench.rig.strace import BEGIN, END, mark, traced
from carnet_agent.sending import window

CASES = ("checkpoints", "without", "offline")
WARM_S = 122
"""Grants have come and two windows have closed."""
NEVER_MS = 2**53


@dataclass(frozen=True, slots=True)
class Result:
    """In an hour: MB (of a million bytes) written, and fsyncs."""

    case: str
    log: float
    database: float
    fsyncs: int
    checkpoints: int
    """Sealed boxes of the open window, and their bytes as they were stored."""
    checkpoint_bytes: int

    @property
    def total(self) -> float:
        return self.log + self.database


def drive(folder: Path, case: str, minutes: int) -> None:
    """The child: drive between two marks; prints how many boxes of the open window were kept, and their bytes."""
    if case == "without":
        window.CHECKPOINT_MS = NEVER_MS  # type: ignore[misc]
    (folder / "unit").mkdir()
    line = Line(folder, folder / "unit")
    line.drive(WARM_S)
    if case == "offline":
        line.rig.connect(False)
    kept: list[int] = []
    line.rig.buffer_db.create_function("note", 1, kept.append)
    line.rig.buffer_db.execute(
        "create temp trigger noted after insert on checkpoint begin select note(length(new.box)); end"
    )
    mark(BEGIN)
    line.drive(minutes * 60)
    mark(END)
    print(len(kept), sum(kept))


def measure(case: str, minutes: int) -> Result:
    """Run the child under strace and add up."""
    with tempfile.TemporaryDirectory() as folder:
        found = traced([sys.executable, __file__, "--drive", case, str(minutes), folder], "/unit/")
    hour = 60 / minutes
    boxes, size = (round(int(word) * hour) for word in found.output.split())
    log, database = (round(found.written[file] * hour / 1e6, 2) for file in ("log", "database"))
    return Result(case, log, database, round(found.synced.total() * hour), boxes, size)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="five minutes")
    parser.add_argument("--drive", nargs=3, metavar=("CASE", "MINUTES", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.drive:
        case, minutes, folder = options.drive
        drive(Path(folder), case, int(minutes))
        return 0
    results = [measure(case, 5 if options.quick else options.minutes) for case in CASES]
    print("in an hour     log MB  database MB  total MB  fsyncs  boxes kept     bytes   GB a year: 1 h a day  always")
    for each in results:
        print(
            f"{each.case:12} {each.log:8.2f} {each.database:12.2f} {each.total:9.2f} {each.fsyncs:7} "
            f"{each.checkpoints:11} {each.checkpoint_bytes:9} {each.total * 365 / 1000:21.1f} "
            f"{each.total * 8760 / 1000:7.0f}"
        )
    print(json.dumps({"bench": "wear", **machine(), "results": [asdict(each) for each in results]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
