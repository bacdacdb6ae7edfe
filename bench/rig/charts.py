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
DRAINS = (100, 400)
"""What a drain of 50 ms finds at 2,000 and at 8,000 frames/s."""


def charts(records: Sequence[Record]) -> dict[str, Chart]:
    """File name -> chart, for the benches that are there."""
    known = {
        "agent": _agent,
        "bytes_rivals": _bytes,
        "decode": _decode,
        "reading": _reading,
        "receiver_rivals": _receiver,
    }
    found: dict[str, Chart] = {}
    for record in records:
        if record["bench"] in known:
            found |= known[record["bench"]](record)
    return found


def _agent(record: Record) -> dict[str, Chart]:
    keys = {"Carnet": "agent_percent", "naive, thins first": "thinning_percent", "naive, row a sample": "naive_percent"}
    rows = [(name, [row[key] for row in record["rows"]]) for name, key in keys.items()]
    note = "CPU, % of one core; less is better. Only Carnet seals for each grant, sends and is answered"
    series = [f"{row['rate']:,} frames/s" for row in record["rows"]]
    return {"bench-agent": Chart("The whole agent at product defaults", note, series, rows)}


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


def _reading(record: Record) -> dict[str, Chart]:
    sides = {"ours_ns": ("Carnet", "Carnet, decoded"), "python_can_ns": ("python-can", "python-can, cantools")}
    series = [frames for frames in dict.fromkeys(row["frames"] for row in record["rows"]) if frames in DRAINS]
    ns = {(row["what"], row["frames"], side): row[side] for row in record["rows"] for side in sides}
    rows = [
        (names[place], [ns[what, frames, side] for frames in series])
        for place, what in enumerate(("read", "decoded"))
        for side, names in sides.items()
    ]
    note = "CPU nanoseconds per frame; less is better"
    title = "Reading what a bus has queued, and decoding it as it comes"
    return {"bench-reading": Chart(title, note, [f"{frames} at once" for frames in series], rows, "{:.0f}")}


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
