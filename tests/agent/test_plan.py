"""The plan: what is selected, on which bus, and what the kernel may be asked for."""

from __future__ import annotations

import numpy as np

from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.parse import parse_dbc
from carnet_agent.dbc.plan import Plan
from carnet_agent.decode import decode
from tests.agent.blocks import CORNERS, J1939, frames_of, per_frame, plan_of


def index(plan: Plan, name: str) -> int:
    """Number of the signal of this name."""
    return next(info.index for info in plan.signals if info.name == name)


def test_a_selected_plan_decodes_only_what_was_selected() -> None:
    """Law 1: also of a granted frame nothing else is decoded; the values are those of the whole plan."""
    plan = plan_of(CORNERS)
    data = bytes([0x41, 5, 1, 2, 3, 4, 5, 6])
    frames = frames_of([(257, data), (258, bytes(64)), (256, bytes(64))])
    whole = per_frame(plan, decode(plan, frames), 3)
    for names in (["deep"], ["a1"], ["always"], ["signed64", "le_cross_signed"], []):
        chosen = plan.select(index(plan, name) for name in names)
        found = per_frame(chosen, decode(chosen, frames), 3)
        wanted = [{name: value for name, value in frame.items() if name in names} for frame in whole]
        assert repr(found) == repr(wanted)
        assert chosen.signals is plan.signals and chosen.selected.tolist() == sorted(index(plan, n) for n in names)


def test_identifiers_are_those_of_messages_with_a_selected_signal() -> None:
    """So the kernel withholds every other frame."""
    plan = plan_of(CORNERS)
    assert plan.identifiers("can0") == [(256, False), (257, False), (258, False)]
    assert plan.select([index(plan, "deep")]).identifiers("can0") == [(257, False)]
    assert plan.select([]).identifiers("can0") == []
    assert plan.select([index(plan, "half")]).filters("any") == [(258, 0xC00007FF)]


def test_filters_of_parameter_groups_leave_out_priority_and_sender() -> None:
    """And, for a destination-specific group, the destination."""
    plan = plan_of(J1939, "pgn")
    assert plan.filters("can0") == [(0x80EE0000, 0xC3FF0000), (0x80F00400, 0xC3FFFF00)]


def one(name: str, signal: str) -> bytes:
    """A database with one message 100 and one signal."""
    return f'BO_ 100 {name}: 8 X\n SG_ {signal} : 0|8@1+ (1,0) [0|0] "" X\n'.encode()


def test_a_database_that_names_its_bus_wins_over_one_for_any_bus() -> None:
    """On its bus only; elsewhere the other one holds."""
    files = [("can1", parse_dbc(one("Named", "n"), "n.dbc")), ("", parse_dbc(one("Any", "a"), "a.dbc"))]
    plan, losses = compile_plan(files, buses=["can0"])
    assert plan.buses == ("can0", "can1") and not losses
    for bus, name in ((0, "a"), (1, "n"), (2, "a"), (200, "a")):
        frames = frames_of([(100, b"\1")], bus=bus)
        assert list(per_frame(plan, decode(plan, frames), 1)[0]) == [name]
    assert plan.select([index(plan, "n")]).identifiers("can0") == []


def test_f16_of_two_messages_with_one_identifier_the_later_is_used_and_the_other_named() -> None:
    """As in cantools; the loss says so."""
    files = [("can0", parse_dbc(one("First", "a"), "a.dbc")), ("can0", parse_dbc(one("Second", "b"), "b.dbc"))]
    plan, losses = compile_plan(files)
    assert list(per_frame(plan, decode(plan, frames_of([(100, b"\1")])), 1)[0]) == ["b"]
    assert [loss.name for loss in losses] == ["First"]


def test_the_same_database_on_two_buses_gives_two_sets_of_signals() -> None:
    """A signal knows its bus."""
    plan, _ = compile_plan([(bus, parse_dbc(one("M", "s"), "m.dbc")) for bus in ("can0", "can1")])
    assert [(info.bus, info.name) for info in plan.signals] == [("can0", "s"), ("can1", "s")]
    decoded = decode(plan, frames_of([(100, b"\5")], bus=1))
    assert decoded.run_signal.tolist() == [1]


def test_tables_are_left_alone_by_select() -> None:
    """A plan is immutable: selecting makes another one."""
    plan = plan_of(CORNERS)
    before = plan.roots.standard.copy()
    plan.select([0])
    assert np.array_equal(plan.roots.standard, before) and len(plan.row_signal) == len(plan.signals)
