"""Pictures of figures: ``python -m bench.rig.charts FILE`` draws ``docs/bench-*.svg`` from the JSON lines in FILE.

FILE is what benches print, all of it or only their last lines. A picture shows the figures of one line and nothing
else; benches that are not in FILE leave their picture as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.rig.barchart import Chart, draw

DOCS = Path(__file__).resolve().parents[2] / "docs"
Record = Mapping[str, Any]


def charts(records: Sequence[Record]) -> dict[str, Chart]:
    """File name -> chart, for the benches that are there."""
    known = {"bytes_rivals": _bytes, "decode": _decode, "receiver_rivals": _receiver}
    found: dict[str, Chart] = {}
    for record in records:
        if record["bench"] in known:
            found |= known[record["bench"]](record)
    return found


def _bytes(record: Record) -> dict[str, Chart]:
    cars = list(dict.fromkeys(row["car"] for row in record["rows"]))
    names = list(dict.fromkeys(row["format"] for row in record["rows"]))
    size = {(row["format"], row["car"]): row for row in record["rows"]}
    wanted = {
        "one": "One message with 48 signals at 1 Hz, 60 s",
        "wire": "Product defaults: five sealed boxes on the wire",
    }
    note = "bytes per sample with its time; less is better"
    return {
        f"bench-bytes-{key}": Chart(title, note, cars, [(n, [size[n, car][key] for car in cars]) for n in names])
        for key, title in wanted.items()
    }


def _decode(record: Record) -> dict[str, Chart]:
    rows = {row["frames"]: row for row in record["rows"] if row["kind"] == "physical" and row["frames"] <= 1000}
    names = list(next(iter(rows.values()))["ns"])
    ours = ("Carnet", [row["ours_ns"] for row in rows.values()])
    others = [(name, [row["ns"][name] for row in rows.values()]) for name in names]
    note = "CPU nanoseconds per frame, physical values, logarithmic; less is better"
    series = [f"blocks of {size:,}" for size in rows]
    return {"bench-decode": Chart("Decoding the frames of a RAV4", note, series, [ours, *others], "{:.0f}", log=True)}


def _receiver(record: Record) -> dict[str, Chart]:
    rows = [(row["side"], [row["us"]]) for row in record["rows"]]
    note = "CPU microseconds; less is better. Only Carnet verifies, decrypts, keeps a replay table and answers"
    title = "Receiving and committing 480 samples, without broker"
    return {"bench-receiver": Chart(title, note, ["one message"], rows, "{:.0f}")}


def main(file: Path) -> None:
    """Draw what FILE has."""
    lines = file.read_text(encoding="utf-8").splitlines()
    for name, chart in charts([json.loads(line) for line in lines if line.startswith('{"bench"')]).items():
        (DOCS / f"{name}.svg").write_text(draw(chart), encoding="utf-8")
        print(f"docs/{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
