"""Small helpers of the decode tests: frames out of literals, and samples as one dictionary per frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carnet_agent.dbc.compile import compile_plan
from carnet_agent.dbc.parse import parse_dbc
from carnet_agent.dbc.plan import Match, Plan
from carnet_agent.decode import exact_values, physical, raw_values
from carnet_agent.decoded import Decoded
from carnet_agent.frames import EXTENDED, Frames

Number = int | float

# Corners that no public file has: words crossed, parallel and ranged multiplexers, all floats, exact big integers.
CORNERS = """
BO_ 256 Wide: 64 X
 SG_ le_cross : 60|9@1+ (1,0) [0|0] "" X
 SG_ le_cross_signed : 100|50@1- (0.5,-3) [0|0] "" X
 SG_ be_cross : 207|64@0- (1,0) [0|0] "" X
 SG_ be_cross_unsigned : 314|13@0+ (0.1,0) [0|0] "" X
 SG_ last : 448|64@1+ (1,0) [0|0] "" X

BO_ 257 Parallel: 8 X
 SG_ first_mux M : 0|4@1+ (1,0) [0|0] "" X
 SG_ second_mux M : 4|4@1+ (1,0) [0|0] "" X
 SG_ a1 m1 : 8|8@1+ (1,0) [0|0] "" X
 SG_ a2to5 m2 : 8|8@1- (1,0) [0|0] "" X
 SG_ b3 m3 : 16|8@1+ (1,0) [0|0] "" X
 SG_ b_nested m4M : 16|2@1+ (1,0) [0|0] "" X
 SG_ deep m1 : 24|16@0- (0.25,10) [0|0] "" X
 SG_ always : 56|8@1+ (1,0) [0|0] "" X

BO_ 258 Numbers: 64 X
 SG_ unsigned64 : 0|64@1+ (1,0) [0|0] "" X
 SG_ signed64 : 64|64@1- (1,0) [0|0] "" X
 SG_ scaled64 : 128|64@1+ (3,7) [0|0] "" X
 SG_ int_then_float : 192|60@1+ (3,0.5) [0|0] "" X
 SG_ float_factor : 256|64@1- (0.001,0) [0|0] "" X
 SG_ half : 320|16@1- (1,0) [0|0] "" X
 SG_ single : 336|32@1- (0.1,1) [0|0] "" X
 SG_ double_be : 375|64@0- (1,0) [0|0] "" X
 SG_ whole_float_factor : 440|60@1- (2.0,1) [0|0] "" X

SIG_VALTYPE_ 258 half : 1;
SIG_VALTYPE_ 258 single : 1;
SIG_VALTYPE_ 258 double_be : 2;
SG_MUL_VAL_ 257 a1 first_mux 1-1;
SG_MUL_VAL_ 257 a2to5 first_mux 2-5, 9-9;
SG_MUL_VAL_ 257 b3 second_mux 3-3;
SG_MUL_VAL_ 257 b_nested second_mux 4-7;
SG_MUL_VAL_ 257 deep b_nested 1-2;
"""

J1939 = (
    'BO_ 2364540158 EEC1: 8 X\n SG_ speed : 24|16@1+ (0.125,0) [0|0] "rpm" X\n\n'
    'BO_ 2565799934 Request: 3 X\n SG_ asked : 0|24@1+ (1,0) [0|0] "" X\n'
)


def plan_of(text: str, match: Match = "id") -> Plan:
    """The plan of this DBC text for any bus."""
    return compile_plan([("", parse_dbc(text.encode("cp1252"), "test.dbc"))], match=match)[0]


def frames_of(rows: Sequence[tuple[int, bytes]], extended: bool | Sequence[bool] = False, bus: int = 0) -> Frames:
    """A block of (identifier, data), a microsecond apart."""
    count = len(rows)
    width = max([8, *(-(-len(data) // 8) * 8 for _, data in rows)])
    payload = b"".join(data.ljust(width, b"\0") for _, data in rows)
    flags = np.where(np.broadcast_to(np.asarray(extended, bool), (count,)), EXTENDED, 0).astype(np.uint8)
    return Frames(
        bus=np.full(count, bus, np.uint8),
        can_id=np.array([can_id for can_id, _ in rows], np.uint32),
        flags=flags,
        length=np.array([len(data) for _, data in rows], np.uint8),
        payload=np.frombuffer(payload, np.uint8).reshape(count, width).copy(),
        time_ns=np.arange(count, dtype=np.int64) * 1000,
    )


def per_frame(plan: Plan, decoded: Decoded, frames: int) -> list[dict[str, tuple[Number, Number, float]]]:
    """For each frame: signal name to (raw, exact value, float64 value)."""
    found: list[dict[str, tuple[Number, Number, float]]] = [{} for _ in range(frames)]
    floats, frame_of = physical(plan, decoded).tolist(), decoded.sample_frame.tolist()
    for signal, start, length in zip(decoded.run_signal, decoded.run_start, decoded.run_length, strict=True):
        info = plan.signals[signal]
        stretch = slice(int(start), int(start + length))
        numbers = zip(
            frame_of[stretch],
            raw_values(info, decoded.raw[stretch]),
            exact_values(info, decoded.raw[stretch]),
            floats[stretch],
            strict=True,
        )
        for frame, raw, value, physical_value in numbers:
            found[frame][info.name] = (raw, value, physical_value)
    return found
