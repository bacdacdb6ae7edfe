"""The road of the simulated car: a closed loop of two straights and two bends on a salt flat where nobody lives.

Law: the same distance always gives the same place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

LATITUDE: Final = 40.79
LONGITUDE: Final = -113.87
"""Degrees of the loop's south-west corner, on the Bonneville salt flats."""
ALTITUDE_M: Final = 1286.0
STRAIGHT_M: Final = 2000.0
RADIUS_M: Final = 300.0
BEND_M: Final = math.pi * RADIUS_M
LOOP_M: Final = 2 * (STRAIGHT_M + BEND_M)

_METRES_PER_DEGREE: Final = 111_320.0


@dataclass(frozen=True, slots=True)
class Place:
    """A point of the road."""

    east_m: float
    north_m: float
    heading_degrees: float
    """0 is north, 90 is east."""
    curvature_per_m: float
    """1 / radius, positive in a bend to the left."""


def place(distance_m: float) -> Place:
    """Where a car is that has driven this far along the loop, counter-clockwise, starting eastwards."""
    along = distance_m % LOOP_M
    half, back = along % (LOOP_M / 2), along >= LOOP_M / 2
    if half < STRAIGHT_M:
        east, north, turned, curvature = half, 0.0, 0.0, 0.0
    else:
        turned = (half - STRAIGHT_M) / RADIUS_M
        east = STRAIGHT_M + RADIUS_M * math.sin(turned)
        north = RADIUS_M * (1 - math.cos(turned))
        curvature = 1 / RADIUS_M
    if back:
        east, north, turned = STRAIGHT_M - east, 2 * RADIUS_M - north, turned + math.pi
    return Place(east, north, (90.0 - math.degrees(turned)) % 360.0, curvature)


def coordinates(east_m: float, north_m: float) -> tuple[float, float]:
    """Latitude and longitude in degrees of a point given in metres from the loop's corner."""
    latitude = LATITUDE + north_m / _METRES_PER_DEGREE
    longitude = LONGITUDE + east_m / (_METRES_PER_DEGREE * math.cos(math.radians(LATITUDE)))
    return latitude, longitude
