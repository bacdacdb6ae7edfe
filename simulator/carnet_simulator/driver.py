"""The driver of the simulated car: when to get in, how fast to go, when to stop and when to charge.

Law: doors move and cables are plugged only while the car is parked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

KMH: Final = 1 / 3.6
"""m/s of one km/h."""
TARGETS_KMH: Final = (30, 50, 50, 70, 80, 100)
ACCELERATION_MAX: Final = 2.5
"""m/s^2 of somebody in a hurry."""
BRAKING: Final = 2.2
BRAKING_HARD: Final = 7.0
"""m/s^2"""


class Phase(Enum):
    """What the driver is doing."""

    PARKED = "parked"
    CHARGING = "charging"
    READY = "ready"
    """Switched on and standing, before driving off and before leaving the car."""
    DRIVING = "driving"
    WAITING = "waiting"
    """Standing in traffic."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What the driver wants in this step."""

    phase: Phase
    speed: float
    """m/s to reach."""
    acceleration_max: float
    braking_max: float
    """m/s^2, both positive."""
    door_open: bool
    belted: bool


class Driver:
    """Goes from phase to phase; every duration comes from the random source that was handed in."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._phase = Phase.PARKED
        self._remaining_s = 3.0
        self._elapsed_s = 0.0
        self._target = 0.0
        self._braking = BRAKING
        self._hurry = random.uniform(1.2, ACCELERATION_MAX)
        self._legs = 0
        self._stops = random.randint(2, 4)

    def step(self, seconds: float, speed: float) -> Intent:
        """The intent for the next step of this length, at this speed in m/s."""
        self._elapsed_s += seconds
        self._remaining_s -= seconds
        standing = speed < 0.05
        if self._remaining_s <= 0 and (standing or self._target > 0):
            self._next()
        inside = self._phase not in (Phase.PARKED, Phase.CHARGING)
        # Somebody gets out soon after parking and gets in shortly before leaving.
        door = self._phase is Phase.PARKED and (0.5 < self._elapsed_s < 1.5 or 0.4 < self._remaining_s < 1.2)
        return Intent(self._phase, self._target, self._hurry, self._braking, door, inside)

    def _next(self) -> None:
        """Leave a phase whose time is over."""
        random = self._random
        if self._phase is Phase.PARKED or self._phase is Phase.CHARGING:
            self._enter(Phase.READY, 1.5)
        elif self._phase is Phase.DRIVING and self._target > 0:
            self._leg()
        elif self._phase is Phase.DRIVING and self._stops > 0:
            self._stops -= 1
            self._enter(Phase.WAITING, random.uniform(3, 9))
        elif self._phase is Phase.DRIVING:
            self._stops = random.randint(2, 4)
            charge = random.random() < 0.5
            self._enter(
                Phase.CHARGING if charge else Phase.PARKED, random.uniform(20, 60) if charge else random.uniform(6, 15)
            )
        else:
            self._legs = random.randint(3, 6)
            self._enter(Phase.DRIVING, 0.0)
            self._leg()

    def _leg(self) -> None:
        """Choose the next speed; the last leg of a drive is standing still."""
        self._legs -= 1
        hard = self._random.random() < 0.15
        self._braking = BRAKING_HARD if hard else BRAKING
        self._hurry = self._random.uniform(1.2, ACCELERATION_MAX)
        self._target = self._random.choice(TARGETS_KMH) * KMH if self._legs > 0 else 0.0
        self._remaining_s = self._random.uniform(8, 25) if self._legs > 0 else 0.0

    def _enter(self, phase: Phase, seconds: float) -> None:
        self._phase, self._remaining_s, self._elapsed_s, self._target = phase, seconds, 0.0, 0.0
