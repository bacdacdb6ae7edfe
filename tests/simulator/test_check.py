"""The demonstration's own judge: what it lets pass and, above all, what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from carnet_simulator.demo.check import LATITUDE, LONGITUDE, Permission, violations
from tests.simulator.readings import RECORD, SPEED, column, event

CELL = {"cell_m": 2000, "interval_ms": 5000}
RATED = {"interval_ms": 5000, "round": "5"}
HELD = {"dead_band": "1", "interval_ms": 1000}
SPREAD = {"aggregate": {"window_ms": 5000, "fields": ["min", "max"]}}
ITEMS = tuple({"path": path, "transform": transform} for path, transform in [
    (SPEED, RATED), (LATITUDE, CELL), (LONGITUDE, CELL), ("Vehicle.Pressure", HELD), ("Vehicle.Acceleration", SPREAD),
])  # fmt: skip
PERMISSION = {RECORD: Permission(RECORD, ITEMS, 1000, 60_000)}


def found(*events: dict[str, Any]) -> list[str]:
    return violations("shop", events, PERMISSION)


def middle(latitude: float) -> float:
    """The middle of a 2000 m row, written down a second time, in metres."""
    metres = latitude * 110_574
    return round(((metres // 2000) * 2000 + 1000) / 110_574, 7)


def test_what_was_granted_passes() -> None:
    lat = middle(40.76)
    event_of_all = event(
        column(SPEED, RATED, [1000, 6000], [85, 90.0]),
        column(LATITUDE, CELL, [2000], [lat]),
        column(LONGITUDE, CELL, [2000], [-113.9]),
        column("Vehicle.Pressure", HELD, [1000, 1900, 3000], [230, 231, 229]),
        column("Vehicle.Acceleration", SPREAD, [10_000], [-0.31], field="min"),
        column("Vehicle.Acceleration", SPREAD, [10_000], [0.2], field="max"),
    )
    assert found(event_of_all) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (column("Vehicle.VIN", {}, [2000], [1]), "nobody agreed to it"),
        (column(SPEED, {}, [2000], [85]), "under {}"),
        (column(SPEED, {**RATED, "round": "1"}, [2000], [85]), "which nobody agreed to"),
        (column(SPEED, RATED, [999], [85]), "outside the time"),
        (column(SPEED, RATED, [60_000], [85]), "outside the time"),
        (column(SPEED, RATED, [2000], [86]), "finer than 5"),
        (column(SPEED, RATED, [2000, 3000], [85]), "not as many"),
        (column(LATITUDE, CELL, [2000], [40.7601]), "not the middle of a cell"),
        (column(LONGITUDE, CELL, [2000], [-113.9]), "not the middle of a cell"),
        (column("Vehicle.Acceleration", SPREAD, [10_000], [0.1], field="mean"), "aggregate that nobody"),
        (column("Vehicle.Acceleration", SPREAD, [10_000], [0.1]), "aggregate that nobody"),
        (column(SPEED, RATED, [2000], [85], field="min"), "aggregate that nobody"),
        (column(SPEED, RATED, [2000, 3000, 4000], [85, 85, 85]), "closer than 5000 ms"),
        (column("Vehicle.Pressure", HELD, list(range(1000, 5000, 500)), [1] * 8), "more than one in 1000 ms"),
    ],
)
def test_what_was_not_granted_is_told(wrong: dict[str, Any], sentence: str) -> None:
    sentences = found(event(wrong))
    assert any(sentence in each for each in sentences)
    assert all(each.startswith(f"shop: {wrong['path']}: ") for each in sentences)


def test_an_event_of_another_consent_is_told() -> None:
    """Also one that another recipient was given: each is judged by its own consents alone."""
    assert "is no consent for it" in found(event(record="rec_bbbbbbbbbbbbbbbb"))[0]


def test_a_rate_is_judged_over_events_and_in_the_order_of_time() -> None:
    """The sender may cut windows as it likes."""
    near = [event(column(SPEED, RATED, [t], [85]), name=str(t)) for t in (22_000, 2000, 12_000, 13_000, 3000, 23_000)]
    assert found(*near) == [f"shop: {SPEED}: 3 samples closer than 5000 ms"]


def test_each_change_of_the_consents_may_begin_a_column_anew_once() -> None:
    """A new set of records ends a column and begins another, whose rate begins anew."""
    times = [[2000, 7000], [7500, 12_500]]
    events = [event(column(SPEED, RATED, each, [85, 85]), generation=n) for n, each in enumerate(times, 1)]
    assert found(*events) == []


def test_uncertain_times_are_given_their_uncertainty() -> None:
    near = [2000, 6990, 11_980]
    assert found(event(column(SPEED, RATED, near, [85] * 3, uncertainty_ms=5))) == []
    assert found(event(column(SPEED, RATED, near, [85] * 3, uncertainty_ms=4))) != []


def test_many_violations_are_cut_short() -> None:
    assert len(found(*(event(column(f"Vehicle.X{n}", {}, [2000], [1])) for n in range(99)))) == 20
