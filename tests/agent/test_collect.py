"""Collect: what is decoded, stored and handed out is what was granted, and nothing of one record shows in another's."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from carnet.codec import decode as decode_body
from carnet.codec import encode
from carnet.ids import RECORD, parse_id
from carnet.narrowing import Ceiling, Mode
from carnet.schema import Schema
from carnet.signals import Category, DeliveryClass, Sensitivity
from carnet.states import State
from carnet.transforms import LATITUDE, LONGITUDE, Transform
from carnet_agent.collect import Collector, Cut, lane
from carnet_agent.dbc.mapping import MappedSignal
from carnet_agent.dbc.plan import Plan
from carnet_agent.decode import decode
from carnet_agent.decoded import Decoded
from carnet_agent.frames import Frames
from tests.agent import collect_oracle
from tests.agent.blocks import frames_of, plan_of
from tests.agent.collectkit import Item, demo_car, grant, item, plain, record_id, simulated, spellings, written_out

CAR = demo_car()
FRAMES = simulated(12, seed=1)
SPEED, SOC = "Vehicle.Speed", "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current"
ODOMETER = "Vehicle.TraveledDistance"
EVERY_SECOND: Item = {"interval_ms": 1000}

PAIR = """
BO_ 256 M: 8 X
 SG_ A : 0|16@1+ (1,0) [0|100] "" X
 SG_ B : 16|16@1+ (1,0) [0|100] "" X
 SG_ F : 32|32@1- (1,0) [0|0] "" X

SIG_VALTYPE_ 256 F : 1;
"""


def pair() -> Collector:
    """Three signals of one message; A and B have a range, F is a float."""
    mapped = [MappedSignal(f"Vehicle.{name}", "", Category.DRIVING, Sensitivity.LOW) for name in "ABF"]
    return Collector(plan_of(PAIR), mapped)


def pair_frames(rows: list[tuple[int, int, int, float]]) -> Frames:
    """(time in ms, A, B, F) each."""
    datas = [a.to_bytes(2, "little") + b.to_bytes(2, "little") + np.float32(f).tobytes() for _, a, b, f in rows]
    frames = frames_of([(256, data) for data in datas])
    return replace(frames, time_ns=np.array([row[0] for row in rows], np.int64) * 1_000_000)


def begin(collector: Collector, *items: Item, boot_ms: int = 0) -> list[Cut]:
    """Grant these items to record 1."""
    return collector.set_grants([grant(1, items)], Mode.NORMAL, Ceiling(), boot_ms)


def emitted(cuts: list[Cut], path: str) -> list[tuple[int, int]]:
    """(time, integer) of the columns with this path."""
    return [
        (time, value)
        for cut in cuts
        for column, values in zip(cut.batch.schema.columns, cut.batch.values, strict=True)
        if column.path == path
        for time, value in zip(cut.batch.times[column.group].tolist(), values.tolist(), strict=True)
    ]


def paths(cuts: list[Cut]) -> set[str]:
    return {column.path for cut in cuts for column in cut.batch.schema.columns}


# law 1


def test_without_a_grant_nothing_is_wanted_decoded_or_cut() -> None:
    collector = CAR.collector()
    collector.feed_frames(FRAMES)
    assert len(collector.wanted) == 0
    assert collector.cut(12_000) == []
    assert not collector.dropped


def test_only_granted_signals_and_conditions_are_wanted() -> None:
    collector = CAR.collector(operating={"voltage": CAR.index("Vehicle.LowVoltageBattery.CurrentVoltage")})
    begin(
        collector,
        item(SPEED, when=[{"path": SOC, "op": ">", "value": "5"}]),
        item(SOC, condition=True),
        item("comfort"),
    )
    expected = {CAR.index(path) for path in (SPEED, SOC, "Vehicle.LowVoltageBattery.CurrentVoltage")}
    expected |= {number for number, one in enumerate(CAR.mapped) if one.category is Category.COMFORT}
    assert set(collector.wanted.tolist()) == expected
    collector.feed_frames(FRAMES)
    assert paths(collector.cut(12_000)) == {
        one.path for n, one in enumerate(CAR.mapped) if n in expected and one.path != SOC
    } - {"Vehicle.LowVoltageBattery.CurrentVoltage"}


def test_nothing_else_is_decoded_but_the_counter_that_guards_a_granted_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed is one of six signals of its message."""
    seen: set[int] = set()

    def spied(plan: Plan, frames: Frames) -> Decoded:
        decoded = decode(plan, frames)
        seen.update(decoded.run_signal.tolist())
        return decoded

    monkeypatch.setattr(lane, "decode", spied)
    collector = CAR.collector()
    begin(collector, item(SPEED), item(SPEED, delivery_class="event"))
    collector.feed_frames(FRAMES)
    collector.cut(12_000)
    assert {(CAR.plan.signals[index].message, CAR.plan.signals[index].name) for index in seen} == {
        ("VehicleMotion", "VehicleSpeed"),
        ("VehicleMotion", "Counter"),
    }


@pytest.mark.parametrize("state", [state for state in State if state is not State.GIVEN])
def test_a_grant_that_is_not_given_wants_nothing(state: State) -> None:
    collector = CAR.collector()
    collector.set_grants([grant(1, [item(SPEED)], state)], Mode.NORMAL, Ceiling(), 0)
    assert len(collector.wanted) == 0


def test_mode_and_ceiling_take_away_and_say_so() -> None:
    collector = CAR.collector()
    items = [item(SPEED), item(LATITUDE), item(SOC)]
    ceiling = Ceiling(categories=frozenset(Category) - {Category.ENERGY})
    collector.set_grants([grant(1, items)], Mode.NO_LOCATION, ceiling, 0)
    assert collector.wanted.tolist() == [CAR.index(SPEED)]
    reasons = {path: reason for _, path, reason in collector.blocked}
    assert (reasons[LATITUDE], reasons[SOC], reasons[ODOMETER]) == ("driver", "ceiling", "offer")


def test_the_ceilings_interval_thins_before_the_transform() -> None:
    collector = CAR.collector()
    items = [item(SPEED, {"on_change": True}), item(SPEED, {"aggregate": {"window_ms": 2000, "fields": ["count"]}})]
    ceiling = Ceiling(interval_ms_min={Category.DRIVING: 500})
    collector.set_grants([grant(1, items)], Mode.NORMAL, ceiling, 0)
    collector.feed_frames(FRAMES)
    (cut,) = collector.cut(12_000)
    counts = next(
        v for c, v in zip(cut.batch.schema.columns, cut.batch.values, strict=True) if c.field == "count"
    ).tolist()
    assert counts == [4] * 6


# several records


def test_two_precisions_are_two_columns_and_the_coarse_one_does_not_tell_the_fine_one() -> None:
    """The coarse record's columns are the same whether or not somebody else gets the fine ones."""
    coarse = grant(1, [item(SPEED, {"round": "10", "on_change": True}), item(SOC, EVERY_SECOND)])
    fine = grant(2, [item(SPEED), item(SOC, {"interval_ms": 100})])
    alone, both = CAR.collector(), CAR.collector()
    alone.set_grants([coarse], Mode.NORMAL, Ceiling(), 0)
    both.set_grants([coarse, fine], Mode.NORMAL, Ceiling(), 0)
    for collector in (alone, both):
        collector.feed_frames(FRAMES)
    (expected,) = alone.cut(12_000)
    mine, other = both.cut(12_000)
    assert [cut.records for cut in (mine, other)] == [
        (parse_id(record_id(1), RECORD),),
        (parse_id(record_id(2), RECORD),),
    ]
    assert encode(mine.batch) == encode(expected.batch)
    column = mine.batch.schema.columns[next(i for i, c in enumerate(mine.batch.schema.columns) if c.path == SPEED)]
    assert (column.factor, column.offset) == ("10", "0")


def test_records_that_want_the_same_share_a_box_and_others_do_not() -> None:
    collector = CAR.collector()
    same = [item(SPEED, EVERY_SECOND)]
    collector.set_grants(
        [grant(2, same), grant(1, [*same, item(SOC)]), grant(3, [item(SPEED, EVERY_SECOND, delivery_class="live")])],
        Mode.NORMAL,
        Ceiling(),
        0,
    )
    collector.feed_frames(FRAMES)
    cuts = collector.cut(12_000)
    ids = [parse_id(record_id(n), RECORD) for n in (1, 2, 3)]
    found = [(cut.records, str(cut.delivery_class), paths([cut])) for cut in cuts]
    assert found == [
        ((ids[0],), "background", {SOC}),
        ((ids[0], ids[1]), "background", {SPEED}),
        ((ids[2],), "live", {SPEED}),
    ]


def test_an_item_without_a_condition_opens_the_column_for_its_record() -> None:
    collector = pair()
    closed = [{"path": "Vehicle.B", "op": ">", "value": "99"}]
    begin(collector, item("Vehicle.A", when=closed), item("Vehicle.B", condition=True), item("driving"))
    collector.feed_frames(pair_frames([(1, 7, 0, 0.0)]))
    assert emitted(collector.cut(2), "Vehicle.A") == [(1, 7)]


def test_a_condition_on_what_the_record_was_not_granted_never_holds() -> None:
    collector = pair()
    conditional = item("Vehicle.A", when=[{"path": "Vehicle.B", "op": ">=", "value": "0"}])
    collector.set_grants([grant(1, [conditional]), grant(2, [item("Vehicle.B")])], Mode.NORMAL, Ceiling(), 0)
    collector.feed_frames(pair_frames([(1, 7, 0, 0.0)]))
    assert paths(collector.cut(2)) == {"Vehicle.B"}


def test_half_a_cell_is_not_collected() -> None:
    collector = CAR.collector()
    begin(collector, item(LONGITUDE, {"cell_m": 1000}))
    collector.feed_frames(FRAMES)
    assert collector.cut(12_000) == []


# changes of grants


def test_a_column_takes_nothing_from_before_it_began_also_within_a_block() -> None:
    collector = pair()
    begin(collector, item("Vehicle.A"), boot_ms=20)
    collector.feed_frames(pair_frames([(10, 1, 0, 0.0), (20, 2, 0, 0.0), (30, 3, 0, 0.0)]))
    assert emitted(collector.cut(31), "Vehicle.A") == [(20, 2), (30, 3)]


def test_a_change_closes_the_window_for_the_old_sets_and_unchanged_columns_keep_their_state() -> None:
    collector = pair()
    slow = item("Vehicle.A", EVERY_SECOND)
    begin(collector, slow, item("Vehicle.B"))
    collector.feed_frames(pair_frames([(10, 1, 5, 0.0)]))
    assert paths(begin(collector, slow, boot_ms=20)) == {"Vehicle.A", "Vehicle.B"}
    collector.feed_frames(pair_frames([(30, 2, 6, 0.0), (1010, 3, 7, 0.0)]))
    assert emitted(collector.cut(1011), "Vehicle.A") == [(1010, 3)]


def test_an_aggregate_ends_with_its_set_and_begins_empty() -> None:
    collector = pair()
    sums = item("Vehicle.A", {"aggregate": {"window_ms": 1000, "fields": ["count", "sum"]}})
    begin(collector, sums)
    collector.feed_frames(pair_frames([(10, 1, 0, 0.0), (20, 2, 0, 0.0)]))
    (cut,) = collector.set_grants([grant(1, [sums]), grant(2, [sums])], Mode.NORMAL, Ceiling(), 600)
    assert [times.tolist() for times in cut.batch.times] == [[600]]
    assert [values.tolist() for values in cut.batch.values] == [[2], [3]]
    collector.feed_frames(pair_frames([(700, 50, 0, 0.0)]))
    assert collector.cut(999) == []
    (cut,) = collector.cut(1000)
    assert [times.tolist() for times in cut.batch.times] == [[1000]]
    assert [values.tolist() for values in cut.batch.values] == [[1], [50]]


def test_withdrawing_everything_hands_out_the_rest_once() -> None:
    collector = pair()
    begin(collector, item("Vehicle.A"))
    collector.feed_frames(pair_frames([(10, 1, 0, 0.0)]))
    assert len(collector.set_grants([], Mode.NORMAL, Ceiling(), 20)) == 1
    collector.feed_frames(pair_frames([(30, 2, 0, 0.0)]))
    assert (collector.cut(40), collector.samples_pending, len(collector.wanted)) == ([], 0, 0)


# quality


def test_two_signals_of_a_message_that_lose_different_frames_keep_their_own_times() -> None:
    collector = pair()
    begin(collector, item("Vehicle.A"), item("Vehicle.B"))
    collector.feed_frames(pair_frames([(10, 101, 1, 0.0), (20, 2, 102, 0.0), (30, 3, 3, 0.0)]))
    cuts = collector.cut(40)
    assert emitted(cuts, "Vehicle.A") == [(20, 2), (30, 3)]
    assert emitted(cuts, "Vehicle.B") == [(10, 1), (30, 3)]
    assert collector.dropped == {"range": 2}


def test_a_drop_is_counted_once_though_two_classes_want_the_signal() -> None:
    collector = pair()
    begin(collector, item("Vehicle.A"), item("Vehicle.A", delivery_class="event"))
    collector.feed_frames(pair_frames([(10, 101, 1, 0.0)]))
    collector.cut(20)
    assert collector.dropped == {"range": 1}


def test_the_first_sender_of_a_parameter_group_that_gives_a_reading_is_followed() -> None:
    plan = plan_of('BO_ 2364540158 EEC1: 8 X\n SG_ S : 24|16@1+ (0.125,0) [0|8031.875] "rpm" X\n', match="pgn")
    collector = Collector(plan, [MappedSignal("Vehicle.S", "rpm", Category.DRIVING, Sensitivity.LOW)])
    begin(collector, item("Vehicle.S"))
    absent, reading = b"\xff" * 8, b"\0\0\0\x08\0\0\0\0"
    senders = [(0x21, absent), (0x00, reading), (0x21, reading), (0x00, reading)]
    frames = frames_of([(0x0CF00400 | source, data) for source, data in senders], extended=True)
    frames.time_ns[:] = np.arange(4) * 10_000_000
    for part in (slice(0, 3), slice(3, 4)):
        collector.feed_frames(frames.take(part))
        collector.advance(40)
    assert emitted(collector.cut(40), "Vehicle.S") == [(10, 8), (30, 8)]
    assert collector.dropped == {"not_available": 1, "other_source": 1}


def test_what_is_not_finite_has_no_distance_also_as_the_first_sample() -> None:
    collector = pair()
    begin(collector, item("Vehicle.F", {"dead_band": "1"}), item("Vehicle.F", {"round": "1"}))
    nan = float("nan")
    collector.feed_frames(pair_frames([(1, 0, 0, nan), (2, 0, 0, 1.0), (3, 0, 0, nan), (4, 0, 0, 1.5), (5, 0, 0, 2.0)]))
    (cut,) = collector.cut(6)
    found = {column.transform: cut.batch.times[column.group].tolist() for column in cut.batch.schema.columns}
    assert found == {Transform(dead_band="1"): [2, 5], Transform(round="1"): [2, 4, 5]}
    assert collector.dropped == {"not_finite": 4}


def test_time_that_goes_back_is_dropped_and_counted() -> None:
    collector = pair()
    begin(collector, item("Vehicle.A"))
    collector.feed_frames(pair_frames([(10, 1, 0, 0.0), (30, 2, 0, 0.0), (20, 3, 0, 0.0), (30, 4, 0, 0.0)]))
    assert emitted(collector.cut(40), "Vehicle.A") == [(10, 1), (30, 2), (30, 4)]
    assert collector.dropped == {"time_back": 1}


# windows


def test_frames_wait_until_a_second_has_passed_and_events_do_not() -> None:
    collector = pair()
    begin(collector, item("Vehicle.A"), item("Vehicle.B", {"on_change": True}, delivery_class="event"))
    collector.feed_frames(pair_frames([(10, 1, 9, 0.0)]))
    assert collector.event_ready
    assert (paths(collector.cut(11, [DeliveryClass.EVENT])), collector.event_ready) == ({"Vehicle.B"}, False)
    collector.feed_frames(pair_frames([(20, 1, 9, 0.0), (1200, 2, 9, 0.0)]))
    assert (collector.samples_pending, collector.event_ready) == (3, False)
    assert collector.bytes_estimate > 0


@pytest.mark.parametrize("delivery_class", ["background", "live", "event"])
@pytest.mark.parametrize("thinned", [{"on_change": True}, {"dead_band": "2"}])
def test_closing_windows_often_gives_no_more_samples_than_the_rate_allows(delivery_class: str, thinned: Item) -> None:
    """Once an hour is once an hour, though a window closes every minute and something has changed in each."""
    hour_ms, minute_ms = 3_600_000, 60_000
    collector = pair()
    begin(collector, item("Vehicle.A", {"interval_ms": hour_ms, **thinned}, delivery_class=delivery_class))
    cuts: list[Cut] = []
    for minute in range(3 * 60):
        collector.feed_frames(pair_frames([(minute * minute_ms + 10, minute % 90 + 1, 0, 0.0)]))
        cuts += collector.cut((minute + 1) * minute_ms)
    assert emitted(cuts, "Vehicle.A") == [(10, 1), (59 * minute_ms + 10, 60), (119 * minute_ms + 10, 30)]


def test_a_change_that_waits_leaves_with_its_own_time_in_a_later_window() -> None:
    collector = pair()
    begin(collector, item("Vehicle.A", {"interval_ms": 1000, "on_change": True}))
    collector.feed_frames(pair_frames([(10, 1, 0, 0.0), (300, 2, 0, 0.0)]))
    assert emitted(collector.cut(400), "Vehicle.A") == [(10, 1)]
    assert emitted(collector.cut(1009), "Vehicle.A") == []
    assert emitted(collector.cut(1010), "Vehicle.A") == [(300, 2)]


def test_a_change_that_waits_leaves_when_its_column_ends() -> None:
    """A stop of the unit, or a set in which the item is no more: nothing would emit it later."""
    for stops in (True, False):
        collector = pair()
        begin(collector, item("Vehicle.A", {"interval_ms": 1000, "on_change": True}))
        collector.feed_frames(pair_frames([(10, 1, 0, 0.0), (300, 2, 0, 0.0)]))
        cuts = collector.cut(400, ending=True) if stops else begin(collector, item("Vehicle.B"), boot_ms=400)
        assert emitted(cuts, "Vehicle.A") == [(10, 1), (300, 2)]


def test_checkpoints_are_copies_that_together_are_the_window() -> None:
    collector = CAR.collector()
    begin(collector, item("driving", EVERY_SECOND), item("energy", {"on_change": True}))
    pieces: list[Cut] = []
    half = len(FRAMES) // 2
    for part, boot_ms in ((slice(0, half), 6000), (slice(half, None), 12_000)):
        collector.feed_frames(FRAMES.take(part))
        pieces += collector.since_checkpoint(boot_ms)
    assert collector.since_checkpoint(12_000) == []
    spelling = {one.transform.canonical(): "" for cut in pieces for one in cut.batch.schema.columns}
    assert written_out(pieces, spelling) == written_out(collector.cut(12_000), spelling)


def test_after_a_cut_a_checkpoint_begins_anew() -> None:
    collector = pair()
    begin(collector, item("Vehicle.A"))
    for time in (10, 20, 30):
        collector.feed_frames(pair_frames([(time, time, 0, 0.0)]))
        if time == 20:
            collector.since_checkpoint(25)
            collector.cut(25)
    assert emitted(collector.since_checkpoint(40), "Vehicle.A") == [(30, 30)]


def test_a_set_has_one_schema_whatever_its_columns_have_kept() -> None:
    collector = CAR.collector()
    begin(collector, item("driving", {"on_change": True}), item("maintenance", EVERY_SECOND))
    schemas: set[bytes] = set()
    for second in range(12):
        at, end = (int(FRAMES.time_ns.searchsorted(n * 10**9)) for n in (second, second + 1))
        collector.feed_frames(FRAMES.take(slice(at, end)))
        for cut in collector.cut((second + 1) * 1000):
            schemas.add(cut.batch.schema.hash)
            schema = Schema.parse(cut.batch.schema.document)
            assert decode_body(encode(cut.batch), schema).samples == cut.batch.samples
    # the first second may lack a slow signal that shares a lane with a faster one
    assert len(schemas) <= 2


def test_signals_of_one_message_at_one_rate_share_their_times() -> None:
    collector = CAR.collector()
    wheels = [one.path for one in CAR.mapped if ".Wheel." in one.path and one.path.endswith("Speed")]
    begin(collector, *(item(path, EVERY_SECOND) for path in wheels))
    collector.feed_frames(FRAMES)
    (cut,) = collector.cut(12_000)
    assert (len(wheels), cut.batch.schema.group_count) == (4, 1)


def test_operating_signals_are_known_to_the_unit_and_in_no_cut() -> None:
    path = "Vehicle.LowVoltageBattery.CurrentVoltage"
    collector = CAR.collector(operating={"voltage": CAR.index(path)})
    assert collector.operating == {"voltage": None}
    collector.feed_frames(FRAMES)
    assert collector.cut(12_000) == []
    voltage = collector.operating["voltage"]
    assert voltage is not None
    assert 11 < voltage < 16


# wide numbers


def test_what_needs_more_than_63_bits_is_computed_exactly_or_dropped() -> None:
    plan = plan_of('BO_ 256 M: 8 X\n SG_ W : 0|64@1+ (0.1,0.5) [0|0] "" X\n')
    collector = Collector(plan, [MappedSignal("Vehicle.W", "", Category.DRIVING, Sensitivity.LOW)])
    begin(collector, item("Vehicle.W", {"round": "3"}), item("Vehicle.W", {"round": "0.001"}))
    raws = [2**64 - 1, 2**63, 5]
    collector.feed_frames(frames_of([(256, raw.to_bytes(8, "little")) for raw in raws]))
    (cut,) = collector.cut(10)
    found: dict[str, Any] = {
        column.factor: values.tolist()
        for column, values in zip(cut.batch.schema.columns, cut.batch.values, strict=True)
    }
    exact = [(Fraction(raw) / 10 + Fraction(1, 2)) / 3 for raw in raws]
    assert found == {"3": [collect_oracle.half_up(each) for each in exact], "0.001": [1000]}
    assert collector.dropped == {"overflow": 2}


# the oracle itself


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("half_up", round),
        ("snap_longitude", lambda units, latitude, metres: collect_oracle.snap_latitude(units, metres)),
        ("STALE_MS", 0),
        ("digits", lambda value: 1),
    ],
)
def test_a_broken_oracle_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str, broken: Any) -> None:
    """An oracle that agrees with everything would be worth nothing."""
    grants = {
        record_id(0): [
            item(SPEED, {"round": "0.02"}, when=[{"path": SOC, "op": ">", "value": "1"}]),
            item(SOC, condition=True),
            item(LATITUDE, {"cell_m": 100}),
            item(LONGITUDE, {"cell_m": 100}),
            item(SPEED, {"aggregate": {"window_ms": 1000, "fields": ["mean"]}}),
        ]
    }
    assert _agrees(grants)
    monkeypatch.setattr(collect_oracle, name, broken)
    assert not _agrees(grants)


def _agrees(grants: dict[str, list[Item]]) -> bool:
    collector, oracle = CAR.collector(), CAR.oracle()
    collector.set_grants([grant(n, items) for n, items in enumerate(grants.values())], Mode.NORMAL, Ceiling(), 0)
    oracle.set_grants(grants, 0)
    frames = FRAMES.take(slice(0, 3000))
    collector.feed_frames(frames)
    for row in plain(frames):
        oracle.feed(row)
    cuts = collector.cut(6000, ending=True)
    oracle.cut(6000, {str(one) for one in DeliveryClass}, ending=True)
    return written_out(cuts, spellings([grants])) == oracle.result
