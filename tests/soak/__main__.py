"""``python -m tests.soak [--minutes N] [--seed N] [--out FILE]``: the line under faults, and whether anything grew.

FILE gets JSON lines: the run, each fault, a sample every ten seconds, a verdict each at the end. Standard output gets
the verdicts. ``--judge FILE`` judges the samples of a run again. Exit code 1 if anything was lost, doubled or grew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TextIO

from tests.soak import judge
from tests.soak.laws import enough, laws
from tests.soak.line import Line, counting
from tests.soak.sample import Sample, take
from tests.soak.schedule import plan
from tests.soak.webhook import Webhook
from tests.system.postgres import Postgres
from tests.system.road import until

SAMPLE_S: Final = 10.0
STORE_EVERY: Final = 6
"""The database is looked at with every so many samples."""
LIFE_SHARE: Final = 0.25
"""Of a run; whoever lived for less is not judged."""
SETTLE_S: Final = 600.0
EVENTS: Final = "select count(*) from delivery"


class Soak:
    """One run. ``samples`` and ``verdicts`` are what it leaves, besides the lines of ``out``."""

    def __init__(self, line: Line, seed: int, seconds: float, out: TextIO) -> None:
        self.samples: list[Sample] = []
        self.verdicts: list[judge.Verdict] = []
        self._line, self._seconds, self._out = line, seconds, out
        self._faults = plan(seed, seconds)
        self._started = 0.0
        self._sample_at = 0.0

    def run(self) -> None:
        """All of it; AssertionError if the line does not even come to rest."""
        line = self._line
        line.begin()
        with counting(line) as tally:
            self._started = time.monotonic()
            before = line.rows(EVENTS)[0][0]
            self._suffer()
            line.mend()
            line.end_of_silence()
            self._look(store=True)
        events = line.rows(EVENTS)[0][0] - before
        self._settle()
        self.verdicts += laws(line, tally.sent) + enough(line, tally.sent)
        self.verdicts += judge.judge(self.samples, life_s_min=self._seconds * LIFE_SHARE, events=events)
        self._done(tally.sent, events)

    def _suffer(self) -> None:
        while (now := time.monotonic() - self._started) < self._seconds:
            if now >= self._sample_at:
                self._look(store=len(self.samples) % STORE_EVERY == 0)
                self._sample_at += SAMPLE_S
            self._line.due()
            if self._faults and now >= self._faults[0].at_s:
                fault = self._faults.pop(0)
                self._say("fault", asdict(fault) | {"at_s": round(now, 1)})
                self._line.suffer(fault)
            time.sleep(0.1)

    def _look(self, *, store: bool) -> None:
        sample = take(self._line, round(time.monotonic() - self._started, 1), store=store)
        self.samples.append(sample)
        self._say("sample", sample.as_row())

    def _settle(self) -> None:
        """The unit is stopped as its owner would and started once more to send the rest."""
        line = self._line
        line.stop("car")
        line.stop("agent")
        line.start_agent()
        until(lambda: line.facts().get("counters", {}).get("rows_waiting", 1) == 0, line.told, SETTLE_S)
        until(lambda: line.health().get("outbox") == {}, line.told, SETTLE_S)

    def _done(self, sent: dict[str, list[float]], events: int) -> None:
        for verdict in self.verdicts:
            self._say("verdict", asdict(verdict) | {"holds": verdict.holds})
        line = self._line
        deeds = line.deeds
        self._say("done", {
            "faults": deeds.done, "events": events, "envelopes": line.facts()["last_seq"],
            "readings": {path: len(times) for path, times in sent.items()},
            "to_webhooks": {name: each.arrivals for name, each in line.hook.heard.items()},
            "agent": line.facts()["counters"], "cloud": line.health(),
            "owner_s_max": round(max(deeds.owner_s), 2), "withdrawals": len(deeds.withdrawn),
        })  # fmt: skip

    def _say(self, kind: str, row: dict[str, Any]) -> None:
        self._out.write(json.dumps({"soak": kind, **row}) + "\n")
        self._out.flush()


def main(arguments: list[str]) -> int:
    """Exit code 1 if anything was lost, doubled, late or grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0, help="how long (120)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (1)")
    parser.add_argument("--out", type=Path, default=Path(os.devnull), metavar="FILE", help="JSON lines")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="judge the samples of a run that was recorded")
    chosen = parser.parse_args(arguments)
    if chosen.judge:
        return tell(judged(chosen.judge))
    folder = Path(tempfile.mkdtemp(prefix="carnet-soak-"))
    print(f"in {folder}, which stays if anything is broken", flush=True)
    code = soak(folder, chosen.seed, chosen.minutes, chosen.out)
    if code == 0:
        shutil.rmtree(folder)
    return code


def soak(folder: Path, seed: int, minutes: float, file: Path) -> int:
    """One run in a folder."""
    with file.open("w") as out, ExitStack() as ends:
        run = {"minutes": minutes, "seed": seed, "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        out.write(json.dumps({"soak": "run", **run, **machine}) + "\n")
        database = Postgres()
        ends.callback(database.close)
        database.start()
        hook = ends.enter_context(Webhook())
        line = Line(folder, database, hook)
        ends.callback(line.close)
        running = Soak(line, seed, minutes * 60, out)
        running.run()
        return tell(running.verdicts)


def judged(file: Path) -> list[judge.Verdict]:
    """What the samples of a run say, by the rules of today; the laws need the line itself."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    samples = [Sample.read(row) for row in rows if row["soak"] == "sample"]
    (minutes,) = (row["minutes"] for row in rows if row["soak"] == "run")
    events = sum(row["events"] for row in rows if row["soak"] == "done")
    return judge.judge(samples, life_s_min=minutes * 60 * LIFE_SHARE, events=events)


def tell(verdicts: list[judge.Verdict]) -> int:
    for verdict in verdicts:
        word = "holds" if verdict.holds else "BROKEN"
        print(f"{word:6} {verdict.what}: {verdict.figure:,.0f} of at most {verdict.bound:,.0f} {verdict.unit}".rstrip())
    broken = sum(not verdict.holds for verdict in verdicts)
    print(f"{len(verdicts)} laws and bounds, {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
