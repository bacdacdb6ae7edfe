"""Two sums of one thing: recipients' files against the statement, and where they may differ."""

from __future__ import annotations

from collections import Counter
from typing import Any

from carnet_simulator.demo.summary import Sum, differences, of_files
from tests.simulator.readings import RECORD, SPEED, column, event

EVENTS = [
    event(column(SPEED, {}, [1, 2], [3, 4])),
    event(column(SPEED, {}, [5], [6]), column("Vehicle.Doors", {}, [5], [1])),
]


def statement(**outcomes: tuple[int, dict[str, int]]) -> dict[str, Any]:
    told = {name: {"events": events, "paths": paths} for name, (events, paths) in outcomes.items()}
    return {"records": [{"record": RECORD, "outcomes": told}]}


def test_a_file_is_added_up_by_record_and_path() -> None:
    other = event(column(SPEED, {}, [9], [9]), record="rec_bbbbbbbbbbbbbbbb")
    assert of_files([*EVENTS, other]) == {
        RECORD: Sum(2, Counter({SPEED: 3, "Vehicle.Doors": 1})),
        "rec_bbbbbbbbbbbbbbbb": Sum(1, Counter({SPEED: 1})),
    }


def test_equal_sums_agree() -> None:
    assert differences(of_files(EVENTS), statement(confirmed=(2, {SPEED: 3, "Vehicle.Doors": 1}))) == []


def test_two_columns_of_one_path_are_one_sum() -> None:
    """Under two transforms, or as fields of an aggregate: the statement counts by path."""
    both = [event(column(SPEED, {}, [1], [1]), column(SPEED, {"interval_ms": 5000}, [1], [1]))]
    assert differences(of_files(both), statement(confirmed=(1, {SPEED: 2}))) == []


def test_a_sample_more_or_less_on_either_side_is_told() -> None:
    for count in (2, 4):
        found = differences(of_files(EVENTS), statement(confirmed=(2, {SPEED: count, "Vehicle.Doors": 1})))
        assert found == [f"{RECORD}: 3 samples of {SPEED} in the file, {count} in the statement"]


def test_an_event_that_the_statement_does_not_know_is_told() -> None:
    assert len(differences(of_files(EVENTS), statement())) == 3
    assert differences({}, statement(confirmed=(1, {SPEED: 1}))) != []


def test_only_what_nobody_knows_may_differ() -> None:
    """A delivery that was cut may have arrived or not; two such that arrived with one listed may not."""
    unknown = (1, {SPEED: 1, "Vehicle.Doors": 1})
    assert differences(of_files(EVENTS), statement(confirmed=(1, {SPEED: 2}), unknown=unknown)) == []
    assert differences(of_files(EVENTS[:1]), statement(confirmed=(1, {SPEED: 2}), unknown=unknown)) == []
    assert differences(of_files(EVENTS), statement(confirmed=(0, {}), unknown=unknown)) != []


def test_what_was_destroyed_or_waits_counts_for_nothing() -> None:
    assert differences({}, statement(destroyed=(5, {SPEED: 50}), queued=(1, {SPEED: 5}))) == []
