"""Makes ``transforms/*.json`` beside this file out of the per-sample oracle, which imports nothing of the product.

Run it after a change of ``docs/transforms.md``: ``python -m tests.vectors.make_transform_vectors``. A test compares its
output with the files, and the product with the files.
"""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.agent.collect_oracle import Column, Signal, half_up, snap_latitude, snap_longitude

FOLDER = Path(__file__).parent / "transforms"
FIELDS = ["min", "max", "mean", "count", "first", "last", "sum"]

Samples = list[list[int]]


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_text(content)


def files() -> dict[str, str]:
    """Name -> content of every file."""
    walk = _walk(7, 60, 40)
    slow = [[0, 5], [400, 9], [999, 5], [1000, 6], [1001, 7], [1500, 6], [2300, 8], [9000, 8], [9100, 2]]
    cases = {
        "rate": [_case({"interval_ms": n}, walk) for n in (1, 40, 41, 100, 1000)],
        "change": [
            _case({"on_change": True}, slow),
            _case({"on_change": True, "interval_ms": 1000}, slow),
            _case({"on_change": True, "interval_ms": 1000}, [[0, 1], [300, 2], [600, 1], [1200, 1], [1300, 3]]),
            _case({"on_change": True, "interval_ms": 1000}, slow, windows_ms=[450, 999, 1501, 2400]),
            _case({"dead_band": "2.5", "interval_ms": 3000}, slow, windows_ms=list(range(500, 9200, 500))),
            _case({"dead_band": "2.5"}, slow),
            _case({"dead_band": "0.05"}, slow, factor="0.01"),
            _case({"dead_band": "3", "interval_ms": 500}, walk),
            _case({"dead_band": "3", "interval_ms": 500}, walk, factor="-1"),
        ],
        "round": [
            _case({"round": "1"}, [[n, raw] for n, raw in enumerate(range(-8, 9))], factor="0.25"),
            _case({"round": "0.1"}, walk, factor="0.03125", offset="-40"),
            _case({"round": "10", "on_change": True}, walk),
            _case({"round": "0.000000001"}, walk, factor="1e-07"),
        ],
        "aggregate": [
            _case({"aggregate": {"window_ms": 500, "fields": FIELDS}}, walk, factor="0.5", offset="-40"),
            _case({"aggregate": {"window_ms": 1000, "fields": FIELDS}, "round": "5"}, walk, factor="-0.1"),
            _case({"aggregate": {"window_ms": 700, "fields": ["mean", "sum"]}}, walk, factor="0.00048828125"),
        ],
    }
    found = {f"{name}.json": _text(content) for name, content in cases.items()}
    found["cell.json"] = _text(_cells())
    return found


def _text(cases: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n"


def _walk(seed: int, count: int, step_ms: int) -> Samples:
    chance = random.Random(seed)
    raw, found = 0, []
    for number in range(count):
        raw += chance.choice([-5, -2, -1, 0, 0, 0, 1, 2, 5])
        found.append([number * step_ms + chance.randint(0, 3), raw])
    return found


def _case(
    transform: dict[str, Any],
    samples: Samples,
    factor: str = "1",
    offset: str = "0",
    windows_ms: list[int] | None = None,
) -> dict[str, Any]:
    """Signed 32-bit raw values in, physical values as exact fractions out; the column ends at ``close_ms``.

    ``windows_ms``: when delivery windows close meanwhile, which must change nothing.
    """
    scale, shift = Fraction(factor), Fraction(offset)
    signal = Signal("M", "S", "", "", scale, shift, None, None, False, 32, True, None, None, None)
    column = Column(signal, transform, [], 0)
    closing = list(windows_ms or [])
    for time, raw in samples:
        while closing and closing[0] <= time:
            column.close(closing.pop(0), ending=False)
        value = column.value(raw * scale + shift, None)
        assert value is not None
        column.sample(time, value)
    close_ms = samples[-1][0] + 10
    column.close(close_ms, ending=True)
    fields = transform["aggregate"]["fields"] if "aggregate" in transform else [""]
    emitted = {name: [[time, str(value)] for time, field, value in column.out if field == name] for name in fields}
    return {
        "transform": transform,
        "factor": factor,
        "offset": offset,
        "samples": samples,
        "windows_ms": windows_ms or [],
        "close_ms": close_ms,
        "emitted": emitted,
    }


def _cells() -> list[dict[str, Any]]:
    """Coordinates and their cells in 10^-7 degrees."""
    found = []
    for metres in (1, 100, 1000, 100_000):
        for latitude in ("0", "-0.0000001", "48.1374", "-33.8688", "60", "89.9999999", "-90", "90"):
            for longitude in ("0", "11.5755", "-0.0000001", "179.9999999", "-180", "180"):
                units = [half_up(Fraction(each) * 10**7) for each in (latitude, longitude)]
                row = snap_latitude(units[0], metres)
                cell = [row, snap_longitude(units[1], row, metres)]
                found.append({"cell_m": metres, "at": units, "cell": cell})
    return found


if __name__ == "__main__":
    main()
