"""Decode: bit for bit what cantools yields, on random payloads of every database and on the corners of the format."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import cantools
import numpy as np
import pytest

from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.parse import load_dbc
from carnet_agent.dbc.plan import Plan
from carnet_agent.decode import decode, physical, refused
from carnet_agent.frames import Frames
from tests.agent.blocks import CORNERS, J1939, frames_of, per_frame, plan_of
from tests.conftest import shared_data


def compare_with_cantools(database: Any, plan: Plan, rows: list[tuple[Any, bytes]]) -> tuple[int, int]:
    """Decode the rows in one block and each with cantools; returns (values compared, frames that cantools refused)."""
    extended = [message.is_extended_frame for message, _ in rows]
    frames = frames_of([(message.frame_id, data) for message, data in rows], extended)
    decoded = decode(plan, frames)
    got = per_frame(plan, decoded, len(rows))
    flagged = {position for found in refused(plan, frames) for position in found.tolist()}
    values = 0
    for position, (message, data) in enumerate(rows):
        try:
            want = message.decode(data, decode_choices=False, allow_truncated=True)
        except cantools.database.DecodeError:
            assert position in flagged, message.name
            continue
        assert position not in flagged, message.name
        raw = message.decode(data, decode_choices=False, scaling=False, allow_truncated=True)
        assert set(want) == set(got[position]), (message.name, data.hex())
        for name, value in want.items():
            our_raw, our_value, our_float = got[position][name]
            for ours, theirs in ((our_raw, raw[name]), (our_value, value), (our_float, float(value))):
                same = repr(ours) == repr(theirs)
                assert same and type(ours) is type(theirs), (message.name, name, data.hex())
            values += 1
    return values, len(flagged)


def random_rows(database: Any, seed: int, per_message: int, width: int = 64) -> list[tuple[Any, bytes]]:
    """Random payloads for every message, whole, short and longer than defined, shuffled."""
    draw = random.Random(seed)
    rows = []
    # Of messages with one identifier cantools knows the last.
    messages = {(m.frame_id, m.is_extended_frame): m for m in database.messages}
    for message in messages.values():
        for turn in range(per_message):
            length = message.length if turn % 4 else draw.randrange(0, message.length + 3)
            data = draw.choice([draw.randbytes, bytes, lambda n: b"\xff" * n, small(draw)])(length)
            rows.append((message, data[:width]))
    draw.shuffle(rows)
    return rows


def small(draw: random.Random) -> Any:
    """Bytes with few bits set, so that selectors are often known values."""
    return lambda length: bytes(draw.choice([0, 1, 2, 3, 4, draw.randrange(256)]) for _ in range(length))


def files() -> list[str]:
    """The DBC files that cantools loads."""
    try:
        names = sorted(path.name for path in (shared_data() / "dbc").glob("*.dbc"))
    except pytest.skip.Exception:
        return []
    return [name for name in names if not name.startswith("honda_civic")]


@pytest.mark.parametrize("name", files())
def test_random_payloads_of_every_database_decode_as_cantools_does(name: str) -> None:
    """Raw, value and float64 value, type included; a frame that cantools refuses is flagged, no other is."""
    path = shared_data() / "dbc" / name
    database = cantools.database.load_file(path, strict=False)
    plan, _ = compile_plan([("", load_dbc(path))])
    rows = random_rows(database, 20170802, 12)
    values, _ = compare_with_cantools(database, plan, rows)
    assert values > 0 or not plan.signals


def test_corners_of_the_format_decode_as_cantools_does() -> None:
    """Signals across words, parallel, nested and ranged multiplexers, floats of three sizes, integers beyond 2^53."""
    database = cantools.database.load_string(CORNERS, "dbc", strict=False)
    values, flagged = compare_with_cantools(database, plan_of(CORNERS), random_rows(database, 7, 600))
    assert values > 5000 and flagged > 100


@pytest.mark.parametrize("size", [0, 1, 2, 63, 64, 4096])
def test_the_size_of_a_block_does_not_matter(size: int) -> None:
    """A block of any size yields what its frames yield one by one."""
    database = cantools.database.load_string(CORNERS, "dbc", strict=False)
    plan = plan_of(CORNERS)
    rows = (random_rows(database, 11, 1400))[:size]
    frames = frames_of([(message.frame_id, data) for message, data in rows])
    whole = per_frame(plan, decode(plan, frames), size)
    picked = range(0, size, 97)
    alone = [per_frame(plan, decode(plan, frames.take(np.array([i]))), 1)[0] for i in picked]
    assert [repr(whole[i]) for i in picked] == [repr(one) for one in alone]


def test_a_signal_that_does_not_fit_a_short_frame_is_absent() -> None:
    """Also when the multiplexer itself is missing."""
    plan = plan_of(CORNERS)
    whole = bytes([0x31, 5, 6, 0, 0, 0, 0, 9])
    frames = frames_of([(257, whole[:length]) for length in (3, 2, 0, 8)])
    names = [sorted(found) for found in per_frame(plan, decode(plan, frames), 4)]
    assert names == [
        ["a1", "b3", "first_mux", "second_mux"],
        ["a1", "first_mux", "second_mux"],
        [],
        ["a1", "always", "b3", "first_mux", "second_mux"],
    ]


def test_an_unknown_selector_costs_only_its_branch_and_is_reported() -> None:
    """The other multiplexer's branch and the signals that are always present are there."""
    plan = plan_of(CORNERS)
    frames = frames_of([(257, bytes([0x3F, 0, 7, 0, 0, 0, 0, 9]))])
    decoded = decode(plan, frames)
    assert sorted(per_frame(plan, decoded, 1)[0]) == ["always", "b3", "first_mux", "second_mux"]
    assert refused(plan, frames).unknown_selector.tolist() == [0]


def test_f16_overlapping_signals_decode_where_cantools_refuses() -> None:
    """Both signals are read from their own bits, the frame is reported."""
    text = (
        'BO_ 5 M: 2 X\n SG_ a : 0|8@1+ (1,0) [0|0] "" X\n SG_ b : 4|8@1+ (1,0) [0|0] "" X\n'
        ' SG_ overhangs : 12|8@1+ (1,0) [0|0] "" X\n'
    )
    plan = plan_of(text)
    frames = frames_of([(5, bytes([0x21, 0x43]))])
    decoded = decode(plan, frames)
    assert {name: found[0] for name, found in per_frame(plan, decoded, 1)[0].items()} == {"a": 0x21, "b": 0x32}
    assert refused(plan, frames).overlapping.tolist() == [0]


@pytest.mark.parametrize("start, overlaps", [(7, True), (8, False)])
def test_an_overlap_of_one_bit_is_one(start: int, overlaps: bool) -> None:
    """As for cantools."""
    text = f'BO_ 5 M: 2 X\n SG_ a : 0|8@1+ (1,0) [0|0] "" X\n SG_ b : {start}|8@1+ (1,0) [0|0] "" X\n'
    assert len(refused(plan_of(text), frames_of([(5, bytes(2))])).overlapping) == overlaps


def test_f16_11_and_29_bit_identifiers_of_the_same_number_are_two_messages() -> None:
    """The flag decides, not the number."""
    text = (
        'BO_ 256 Short: 1 X\n SG_ s : 0|8@1+ (1,0) [0|0] "" X\n\n'
        'BO_ 2147483904 Long: 1 X\n SG_ l : 0|8@1+ (1,0) [0|0] "" X\n'
    )
    plan = plan_of(text)
    frames = frames_of([(256, b"\1"), (256, b"\2"), (257, b"\3")], extended=[False, True, True])
    assert [list(found) for found in per_frame(plan, decode(plan, frames), 3)] == [["s"], ["l"], []]


def test_parameter_groups_match_any_sender_destination_and_priority() -> None:
    """The source address of each sample is kept; by identifier only the very same one matches."""
    data = bytes(range(8))
    ids = [0x0CF004FE, 0x18F00400, 0x18EE1122, 0x18EFFF00, 0x0CF00521]
    frames = frames_of([(can_id, data) for can_id in ids], extended=True)
    plan = plan_of(J1939, "pgn")
    decoded = decode(plan, frames)
    assert [list(found) for found in per_frame(plan, decoded, 5)] == [["speed"], ["speed"], ["asked"], [], []]
    assert decoded.source is not None
    assert decoded.source.tolist() == [0xFE, 0, 0x22, 0, 0x21]
    exact = plan_of(J1939)
    assert [list(found) for found in per_frame(exact, decode(exact, frames), 5)] == [["speed"], [], [], [], []]


def test_of_messages_with_one_parameter_group_the_very_identifier_wins() -> None:
    """A second sender's definition is used for that sender only; any other sender gets the later one."""
    second = 'BO_ 2364539904 EEC1_b: 8 X\n SG_ other : 0|8@1+ (1,0) [0|0] "" X\n'
    plan = plan_of(J1939 + "\n" + second, "pgn")
    frames = frames_of([(can_id, bytes(8)) for can_id in (0x0CF004FE, 0x0CF00400, 0x18F00411)], extended=True)
    found = [list(samples) for samples in per_frame(plan, decode(plan, frames), 3)]
    assert found == [["speed"], ["other"], ["other"]]


def test_runs_are_disjoint_ascending_and_whole() -> None:
    """One run per signal, frames ascending within it, all samples covered."""
    database = cantools.database.load_string(CORNERS, "dbc", strict=False)
    plan = plan_of(CORNERS)
    rows = random_rows(database, 3, 300)
    decoded = decode(plan, frames_of([(message.frame_id, data) for message, data in rows]))
    assert len(set(decoded.run_signal.tolist())) == len(decoded.run_signal)
    assert int(decoded.run_length.sum()) == len(decoded) and (decoded.run_length > 0).all()
    for start, first, length in zip(decoded.run_start, decoded.run_frame, decoded.run_length, strict=True):
        frame = decoded.frame[first : first + length]
        assert (np.diff(frame) > 0).all()
        assert decoded.sample_frame[start : start + length].tolist() == frame.tolist()


def test_a_dropped_sample_leaves_all_others_with_their_frames() -> None:
    """The run that lost one has frames of its own then, a run left empty is gone, the others go on sharing theirs."""
    text = "BO_ 5 M: 3 X\n" + "".join(f' SG_ s{n} : {8 * n}|8@1+ (1,0) [0|0] "" X\n' for n in range(3))
    plan = plan_of(text)
    decoded = decode(plan, frames_of([(6, b"\0"), *((5, bytes([n, 10 + n, 20 + n])) for n in range(3))]))
    assert decoded.run_frame.tolist() == [0, 0, 0]
    keep = np.array([True, False, True] + [False] * 3 + [True] * 3)
    left = decoded.only(keep)
    assert [sorted((name, found[0]) for name, found in one.items()) for one in per_frame(plan, left, 4)] == [
        [],
        [("s0", 0), ("s2", 20)],
        [("s2", 21)],
        [("s0", 2), ("s2", 22)],
    ]
    assert left.run_frame[1] == decoded.run_frame[2] and left.run_start.tolist() == [0, 2]


def test_a_classic_block_under_a_plan_with_long_messages() -> None:
    """Payloads of 8 bytes with definitions of 64: the first signals are there, the others absent."""
    plan = plan_of(CORNERS)
    frames = frames_of([(258, b"\1" * 8)])
    assert list(per_frame(plan, decode(plan, frames), 1)[0]) == ["unsigned64"]


def test_physical_of_nan_and_infinity_is_what_the_float_says() -> None:
    """Special floats pass."""
    plan = plan_of(CORNERS)
    data = bytearray(64)
    data[42:46] = np.array([math.inf], "<f4").tobytes()
    data[40:42] = np.array([math.nan], "<f2").tobytes()
    decoded = decode(plan, frames_of([(258, bytes(data))]))
    found = per_frame(plan, decoded, 1)[0]
    assert math.isnan(found["half"][1]) and found["single"][1] == math.inf


def test_an_empty_plan_and_an_empty_block_yield_nothing() -> None:
    """No message, no frame, no sample."""
    plan = plan_of("BO_ 1 Empty: 8 X\n")
    for frames in (Frames.empty(), Frames.empty(64), frames_of([(1, b"\1"), (2, b"")])):
        decoded = decode(plan, frames)
        assert len(decoded) == 0 and len(physical(plan, decoded)) == 0


def test_frames_of_the_tests_are_what_readers_yield(tmp_path: Path) -> None:
    """Concatenating and taking keep every column aligned, and widen payloads with zeros."""
    left, right = frames_of([(1, b"\1\2")]), frames_of([(2, bytes(range(12)))], extended=True, bus=3)
    both = Frames.concat([left, right])
    assert both.width == 16 and both.payload[0].tolist() == [1, 2] + [0] * 14
    back = both.take(np.array([1, 0]))
    assert back.can_id.tolist() == [2, 1] and back.bus.tolist() == [3, 0] and back.length.tolist() == [12, 2]
