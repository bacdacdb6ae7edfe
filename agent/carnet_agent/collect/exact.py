"""Exact arithmetic for scaled raw values: decimals as fractions, and raw integers onto a grid without a rounding error.

Law: what a DBC's factor means is its shortest decimal text, not the nearest binary number.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
from numpy.typing import NDArray

from carnet_agent.dbc.database import Number
from carnet_agent.dbc.plan import SignalInfo

INT64_MAX = 2**63 - 1
FLOAT_EXACT = 2.0**53
"""Beyond it a binary64 is no longer a certain integer."""


def fraction(number: Number | str) -> Fraction:
    """The decimal that is written, exactly."""
    return Fraction(number if isinstance(number, str) else repr(number))


def raw_bounds(info: SignalInfo) -> tuple[int, int]:
    """The smallest and the largest raw integer of a signal that is no float."""
    return (-(1 << info.bits - 1), (1 << info.bits - 1) - 1) if info.is_signed else (0, (1 << info.bits) - 1)


def floats(info: SignalInfo, raw: NDArray[np.int64]) -> NDArray[np.float64]:
    """The unscaled values behind the bit patterns of a float signal."""
    if info.kind == "float64":
        return raw.view(np.float64)
    if info.kind == "float32":
        return raw.astype(np.uint32).view(np.float32).astype(np.float64)
    return raw.astype(np.uint16).view(np.float16).astype(np.float64)


def scaled_floats(info: SignalInfo, raw: NDArray[np.int64]) -> NDArray[np.float64]:
    """Physical values of a float signal."""
    return floats(info, raw) * float(info.factor) + float(info.offset)


@dataclass(frozen=True, slots=True)
class Affine:
    """``(raw * times + plus) // over`` in exact integers, ``over`` above zero."""

    times: int
    plus: int
    over: int
    unsigned: bool
    """The raw values are bit patterns of unsigned 64-bit integers."""
    fits: bool
    """No product leaves 63 bits, whatever the raw value."""

    @classmethod
    def of(cls, info: SignalInfo, times: Fraction, plus: Fraction) -> Affine:
        """``⌊raw * times + plus⌋`` for the raw values of this signal."""
        over = lcm(times.denominator, plus.denominator)
        whole_times, whole_plus = int(times * over), int(plus * over)
        largest = max(abs(bound) for bound in raw_bounds(info)) * abs(whole_times) + abs(whole_plus)
        return cls(whole_times, whole_plus, over, info.kind == "uint", max(largest, over) <= INT64_MAX)

    @property
    def is_identity(self) -> bool:
        """Every raw value comes out as it went in."""
        return self.fits and self.times == self.over and 0 <= self.plus < self.over

    def apply(self, raw: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """(results, which of them fit into 63 bits; None: all)."""
        if self.is_identity:
            return raw, None
        if self.fits:
            result = raw * self.times
            result += self.plus
            return (result if self.over == 1 else result // self.over), None
        # wide signals only: Python's integers have no limit
        wide = (raw.view(np.uint64) if self.unsigned else raw).astype(object)
        exact = (wide * self.times + self.plus) // self.over
        good = ((exact >= -INT64_MAX) & (exact <= INT64_MAX)).astype(np.bool_)
        return np.where(good, exact, 0).astype(np.int64), good
