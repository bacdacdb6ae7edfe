"""Readings as columns: what a box carries, before the codec and after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carnet.errors import LocalProtocolError
from carnet.schema import Column, Schema


@dataclass(frozen=True, slots=True)
class Batch:
    """Columns of one window.

    ``times``: per group an int64 array of milliseconds of BOOTTIME that never falls; empty for a group without samples.
    ``values``: per column of the schema an int64 array of raw values, as long as the times of its group.
    """

    schema: Schema
    times: tuple[NDArray[np.int64], ...]
    values: tuple[NDArray[np.int64], ...]

    @property
    def samples(self) -> int:
        return sum(len(column) for column in self.values)

    def check(self) -> None:
        """LocalProtocolError if the arrays do not fit the schema."""
        groups = self.schema.groups
        if len(self.values) != len(groups) or len(self.times) != self.schema.group_count:
            raise LocalProtocolError("batch_shape", "a batch has other columns than its schema")
        if any(len(self.times[g]) != len(v) for g, v in zip(groups, self.values, strict=True)):
            raise LocalProtocolError("batch_shape", "a column of a batch has another length than its times")


def physical(column: Column, raw: NDArray[np.int64]) -> NDArray[Any]:
    """Physical values of raw ones, with the arithmetic of cantools: ``raw * factor + offset``.

    Integers stay integers where factor and offset are whole numbers: int64, uint64 for a uint of 64 bits, and Python's
    own in an object array where the result needs more than 63 bits. Everything else is float64.
    """
    values = _typed(column.kind, raw)
    factor, offset = _number(column.factor), _number(column.offset)
    if factor == 1 and offset == 0:
        return values
    if values.dtype.kind != "f" and float(factor).is_integer() and float(offset).is_integer():
        return _scaled(values, int(factor), int(offset))
    if values.dtype.kind != "f" and isinstance(factor, int):
        # the product of two integers is exact, and only then becomes a float
        return _scaled(values, factor, 0).astype(np.float64) + float(offset)
    return values.astype(np.float64) * float(factor) + float(offset)


def _typed(kind: str, raw: NDArray[np.int64]) -> NDArray[Any]:
    if kind == "uint":
        # an unsigned value below 2^63 is the same as int64, and only then may it be one
        return raw if raw.min(initial=0) >= 0 else raw.view(np.uint64)
    if kind == "float32":
        return raw.astype(np.uint32).view(np.float32).astype(np.float64)
    if kind == "float64":
        return raw.view(np.float64)
    return raw


def _number(text: str) -> int | float:
    return float(text) if "." in text or "e" in text else int(text)


def _scaled(values: NDArray[Any], factor: int, offset: int) -> NDArray[Any]:
    """Integers times an integer; the way by int64 only if neither the product nor the sum can leave it."""
    if values.size == 0:
        return values
    products = [int(values.min()) * factor, int(values.max()) * factor]
    reached = [*products, *(product + offset for product in products), factor, offset]
    if values.dtype == np.int64 and all(-(2**63) <= number < 2**63 for number in reached):
        return values * factor + offset
    return values.astype(object) * factor + offset
