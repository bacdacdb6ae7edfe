"""Small helpers of the decode tests: frames out of literals, and samples as one dictionary per frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carnet_agent import dbc
from carnet_agent.compile import compile_plan
from carnet_agent.decode import Decoded, exact_values, physical, raw_values
from carnet_agent.frames import EXTENDED, Frames
from carnet_agent.plan import Match, Plan

Number = int | float


def plan_of(text: str, match: Match = "id") -> Plan:
    """The plan of this DBC text for any bus."""
    return compile_plan([("", dbc.parse(text.encode("cp1252"), "test.dbc"))], match=match)[0]


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
    floats = physical(plan, decoded).tolist()
    for signal, start, length in zip(decoded.run_signal, decoded.run_start, decoded.run_length, strict=True):
        info = plan.signals[signal]
        stretch = slice(int(start), int(start + length))
        numbers = zip(
            decoded.frame[stretch].tolist(),
            raw_values(info, decoded.raw[stretch]),
            exact_values(info, decoded.raw[stretch]),
            floats[stretch],
            strict=True,
        )
        for frame, raw, value, physical_value in numbers:
            found[frame][info.name] = (raw, value, physical_value)
    return found
