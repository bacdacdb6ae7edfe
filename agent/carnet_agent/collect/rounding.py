"""Rounding: readings onto multiples of a step, halves up, as integers that a column declares the step of."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from carnet_agent.collect.exact import FLOAT_EXACT, Affine, fraction, scaled_floats
from carnet_agent.dbc.plan import SignalInfo

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rounding:
    """One signal onto one step."""

    info: SignalInfo
    step: Fraction
    affine: Affine | None
    """None: a float signal."""

    @classmethod
    def of(cls, info: SignalInfo, step: Fraction) -> Rounding:
        """Round to multiples of ``step``, in the unit of the signal."""
        if info.is_float:
            return cls(info, step, None)
        times, plus = fraction(info.factor) / step, fraction(info.offset) / step + Fraction(1, 2)
        return cls(info, step, Affine.of(info, times, plus))

    def apply(self, raw: Int64) -> tuple[Int64, Mask | None]:
        """(multiples of the step, which of them are readings; None: all)."""
        if self.affine is not None:
            return self.affine.apply(raw)
        with np.errstate(all="ignore"):
            multiple = np.floor(scaled_floats(self.info, raw) / float(self.step) + 0.5)
            good = np.abs(multiple) < FLOAT_EXACT
        if good.all():
            return multiple.astype(np.int64), None
        return np.where(good, multiple, 0.0).astype(np.int64), good


def decimals(number: Fraction) -> int:
    """Digits after the point of a decimal number."""
    digits = 0
    while number.denominator != 1:
        number *= 10
        digits += 1
    return digits
