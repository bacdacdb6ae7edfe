"""The drill: a backup, a withdrawal after it, a crash, and the backup put back, by the programs that users run.

    .venv/bin/python -m tests.system.drill

Takes half a minute, a Mosquitto and a folder of its own, and says step by step what it does and what came of it. Two
recipients got readings when the backup was made; the owner withdraws one of both consents after it. Law: what a backup
has brought back to life stays silent towards the first, and goes on towards the second.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.system.road import OFFER, Road, until

INSURER: Final = "rcp_bbbbbbbbbbbbbbbb"
INSURERS_OFFER: Final = {
    **OFFER, "id": "off_bbbbbbbbbbbbbbbb", "recipient": INSURER, "recipient_name": "Insurer",
}  # fmt: skip
SECOND: Final = f"""
[[recipient]]
kind = "file"
id = "{INSURER}"
name = "Insurer"
path = "workshop/insurer.jsonl"
"""
SILENT_S: Final = 5.0
"""So long the withdrawn one is watched, while the other one gets more."""
BACKUP: Final = "monday.db"


class Drill:
    """One folder, and what has arrived in it."""

    def __init__(self, folder: Path) -> None:
        self.road = Road(folder, more_cloud=SECOND)
        self._began = time.monotonic()

    def run(self) -> None:
        """Every step; AssertionError with the log of the program that is not as it has to be."""
        workshop, insurer = self._give()
        self._say(f"readings reach workshop ({self.events('events')}) and insurer ({self.events('insurer')})")
        self.road.ask("carnet_cloud", "backup", BACKUP, "--config", "cloud.toml")
        self._say("a backup was made, with both consents in force")
        self.road.owner("withdraw", workshop)
        seen = self.events("events")
        self._say(f"the owner has withdrawn from the workshop, which has {seen} events")
        self.road.kill("cloud")
        for file in (self.road.folder / "store").iterdir():
            file.rename(self.road.folder / f"lost-{file.name}")
        self._say("the cloud was killed, and its store is lost")
        self.road.ask("carnet_cloud", "restore", BACKUP, "--config", "cloud.toml")
        self.road.start_cloud()
        until(self.road.ready, lambda: self.road.log("cloud"))
        self._say("the backup is back, and /readyz says so")
        before = self.events("insurer")
        watched = time.monotonic() + SILENT_S
        until(lambda: self.events("insurer") > before and time.monotonic() > watched, lambda: self.road.log("cloud"))
        assert self.events("events") == seen, f"the workshop got {self.events('events') - seen} more events"
        states = {record["record"]: record["state"] for record in self.road.owner("list")}
        assert (states[workshop] != "given", states[insurer]) == (True, "given"), states
        self._say(f"the insurer gets more ({self.events('insurer')}), the workshop nothing: {states[workshop]}")

    def events(self, name: str) -> int:
        """What a recipient's file has."""
        file = self.road.folder / "workshop" / f"{name}.jsonl"
        return sum(1 for line in file.read_text().splitlines() if json.loads(line)) if file.exists() else 0

    def _give(self) -> tuple[str, str]:
        """Everything runs, and both have got something; the two records."""
        self.road.prepare([OFFER, INSURERS_OFFER])
        self.road.start_agent()
        until(self.road.connected, lambda: self.road.log("agent"))
        self.road.start_car(3)
        first, second = (self.road.owner("grant", str(offer["id"]))["record"] for offer in (OFFER, INSURERS_OFFER))
        until(lambda: min(self.events("events"), self.events("insurer")) > 0, lambda: self.road.log("cloud"))
        return str(first), str(second)

    def _say(self, words: str) -> None:
        print(f"{time.monotonic() - self._began:5.1f} s  {words}", flush=True)


def main() -> int:
    """0 if the law held."""
    with tempfile.TemporaryDirectory(prefix="carnet-drill-") as folder:
        drill = Drill(Path(folder))
        try:
            drill.run()
        except AssertionError as broken:
            print(f"broken: {broken}", file=sys.stderr)
            return 1
        finally:
            drill.road.close()
    print("the drill held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
