"""Which fault begins when, made from a seed.

Law: pure. Agent and receivers are killed in the first eighth of each half only, each receiver in one of the halves, so
that every program then lives for long enough to show what it leaks; all other faults go on in between. The last part
of a run is without faults, so that what is left over at the end is left over for good.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

STEP_S: Final = (20, 60)
PACE_MIN: Final = 0.05
"""A run of less than half an hour is as much quicker, but no step is shorter than a second."""
STORM_SHARE: Final = 0.125
"""Of a run, at the beginning of each half."""
QUIET_SHARE: Final = 0.05
QUIET_S_MAX: Final = 180.0
ALWAYS: Final = (
    *("owner", "owner", "owner", "broker killed", "broker frozen", "receiver frozen"),
    *("error", "slow", "hanging", "broken"),
)
STORM: Final = ("agent killed", "agent killed", "receiver killed", "receiver killed")
LASTS_S: Final = {
    "agent killed": (0.0, 5.0),
    "receiver killed": (0.0, 5.0),
    "broker killed": (0.0, 5.0),
    "broker frozen": (3.0, 20.0),
    "receiver frozen": (1.0, 8.0),
    "error": (5.0, 15.0),
    "slow": (5.0, 15.0),
    "hanging": (5.0, 15.0),
    "broken": (5.0, 15.0),
    "owner": (0.0, 0.0),
}
"""The four without a noun are answers of the webhooks; ``owner`` is the next change of mind."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``lasts_s``: until it is mended. ``half``: 0 or 1."""

    at_s: float
    kind: str
    lasts_s: float
    half: int


def plan(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run in the order of time; in every storm each kind of kill occurs."""
    return list(_faults(random.Random(seed), seconds))


def quiet_s(seconds: float) -> float:
    """How much of the end is without faults."""
    return min(seconds * QUIET_SHARE, QUIET_S_MAX)


def _faults(chance: random.Random, seconds: float) -> Iterator[Fault]:
    at, end = 0.0, seconds - quiet_s(seconds)
    pace = min(1.0, max(PACE_MIN, seconds / 1800))
    longest_s = max(last for _, last in LASTS_S.values()) * pace
    due: list[str] = []
    storms = 0
    while True:
        at += chance.uniform(*STEP_S) * pace
        half = int(at >= seconds / 2)
        if at + longest_s >= end:
            return
        storm = at - half * seconds / 2 < seconds * STORM_SHARE
        if storm and storms == half:
            storms += 1
            due = ["receiver killed", "agent killed"]
        kind = due.pop() if due and storm else chance.choice(ALWAYS + STORM if storm else ALWAYS)
        yield Fault(at, kind, chance.uniform(*LASTS_S[kind]) * pace, half)
