"""The vectors of ``docs/transforms.md``: the files are what the oracle makes, and collect gives what the files say."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from carnet.narrowing import Ceiling, Mode
from carnet.signals import Category, Sensitivity
from carnet_agent.collect import Collector, Cut, cell
from carnet_agent.dbc.mapping import MappedSignal
from tests.agent.blocks import frames_of, plan_of
from tests.agent.collectkit import grant, item
from tests.conftest import CHECKOUT
from tests.vectors.make_transform_vectors import FOLDER, files

SPEED = "Vehicle.Speed"
CASES = [
    pytest.param(case, id=f"{name}-{number}")
    for name in ("rate", "change", "round", "aggregate")
    for number, case in enumerate(json.loads((FOLDER / f"{name}.json").read_text()))
]


def test_the_files_are_what_the_oracle_makes() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == files()


@pytest.mark.parametrize("case", CASES)
def test_collect_gives_what_a_vector_says(case: dict[str, Any]) -> None:
    plan = plan_of(f'BO_ 256 M: 8 X\n SG_ S : 0|32@1- ({case["factor"]},{case["offset"]}) [0|0] "km/h" X\n')
    mapped = MappedSignal(SPEED, "km/h", Category.DRIVING, Sensitivity.LOW)
    collector = Collector(plan, [mapped])
    collector.set_grants([grant(1, [item(SPEED, case["transform"])])], Mode.NORMAL, Ceiling(), 0)
    frames = frames_of([(256, raw.to_bytes(8, "little", signed=True)) for _, raw in case["samples"]])
    frames.time_ns[:] = [time * 1_000_000 for time, _ in case["samples"]]
    times = [time for time, _ in case["samples"]]
    ends = sorted({len(times) // 2, len(times), *(bisect_left(times, closing) for closing in case["windows_ms"])})
    cuts: list[Cut] = []
    for start, end in pairwise([0, *ends]):
        collector.feed_frames(frames.take(slice(start, end)))
        collector.advance(times[end - 1])
        cuts += collector.cut(times[end - 1]) if case["windows_ms"] else []
    cuts += collector.cut(case["close_ms"], ending=True)
    found: defaultdict[str, list[list[Any]]] = defaultdict(list)
    for cut in cuts:
        for column, values in zip(cut.batch.schema.columns, cut.batch.values, strict=True):
            found[column.field] += [
                [time, Fraction(raw) * Fraction(column.factor) + Fraction(column.offset)]
                for time, raw in zip(cut.batch.times[column.group].tolist(), values.tolist(), strict=True)
            ]
    expected = {name: [[time, Fraction(value)] for time, value in rows] for name, rows in case["emitted"].items()}
    assert found == expected


def test_cells_are_those_of_the_vectors() -> None:
    for case in json.loads((FOLDER / "cell.json").read_text()):
        latitude, longitude = (np.array([each], np.int64) for each in case["at"])
        row = cell.snap_latitude(latitude, case["cell_m"])
        assert [int(row[0]), int(cell.snap_longitude(longitude, row, case["cell_m"])[0])] == case["cell"], case


def test_the_document_names_the_constants_that_the_code_has() -> None:
    document = (CHECKOUT / "docs" / "transforms.md").read_text()
    assert f"M = {cell.METRES_PER_DEGREE:,}" in document
    assert len(cell.COSINES) == 91
    assert (cell.COSINES[0], cell.COSINES[60], cell.COSINES[90]) == (1_000_000, 500_000, 0)


def test_a_cell_is_never_smaller_than_agreed() -> None:
    """Rows and cells of 1,000 m, measured on the earth (WGS 84) at every whole degree."""
    for degree in range(89):
        phi = np.radians(degree + 0.5)
        e2 = 0.00669437999014
        meridian = np.radians(1) * 6_378_137 * (1 - e2) / (1 - e2 * np.sin(phi) ** 2) ** 1.5
        parallel = np.radians(1) * 6_378_137 * np.cos(phi) / np.sqrt(1 - e2 * np.sin(phi) ** 2)
        near = np.arange(200_000, dtype=np.int64) * 20 + degree * 10**7 + 3_000_000
        rows = np.unique(cell.snap_latitude(near, 1000))
        middle = cell.snap_latitude(np.array([degree * 10**7 + 5_000_000]), 1000)
        cells = np.unique(cell.snap_longitude(near, np.repeat(middle, len(near)), 1000))
        assert np.diff(rows).min() * 1e-7 * meridian >= 999.9
        assert np.diff(cells).min(initial=10**9) * 1e-7 * parallel >= 999.9
