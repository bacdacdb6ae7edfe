"""Cells: a place on the earth as the middle of a square of at least N metres, see ``docs/transforms.md``.

Law: integers only, so that two implementations name the same cell; and no cell is smaller than was agreed.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNIT: Final = Fraction(1, 10**7)
"""Degrees of one unit of a coordinate."""
FACTOR_TEXT: Final = "1e-07"
METRES_PER_DEGREE: Final = 110_574
"""Of latitude at the equator, where a degree is shortest."""
COSINES: Final = np.array([math.floor(10**6 * math.cos(math.radians(d)) + 1e-6) for d in range(90)] + [0], np.int64)
"""Of whole degrees, in millionths, rounded down."""

_DEGREE: Final = 10**7
_POLE: Final = 90 * _DEGREE
_HALF_TURN: Final = 180 * _DEGREE

Int64 = NDArray[np.int64]


def snap_latitude(latitude: Int64, cell_m: int) -> Int64:
    """The middle of the row of cells that each latitude lies in; both in units."""
    row = latitude * METRES_PER_DEGREE // (cell_m * _DEGREE)
    middle: Int64 = (2 * row + 1) * (cell_m * _DEGREE) // (2 * METRES_PER_DEGREE)
    return middle.clip(-_POLE, _POLE)


def snap_longitude(longitude: Int64, latitude: Int64, cell_m: int) -> Int64:
    """The middle of the cell, in the row whose snapped latitude this is."""
    degree = -(-np.abs(latitude) // _DEGREE)
    columns = np.maximum(1, 360 * METRES_PER_DEGREE * COSINES.take(degree) // (cell_m * 10**6))
    column = (longitude + _HALF_TURN) % (2 * _HALF_TURN) * columns // (2 * _HALF_TURN)
    middle: Int64 = (2 * column + 1) * _HALF_TURN // columns - _HALF_TURN
    return middle
