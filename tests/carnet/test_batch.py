"""Physical values are those of cantools, and a batch fits its schema."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from cantools.database.conversion import BaseConversion
from hypothesis import given
from hypothesis import strategies as st

from carnet.batch import physical
from carnet.schema import Column
from carnet.transforms import Transform

WHOLE = st.one_of(st.integers(-1000, 1000), st.integers(-(2**63), 2**64))
FLOAT = st.floats(allow_nan=False, allow_infinity=False)


def column(kind: str, factor: float = 1, offset: float = 0) -> Column:
    """A column with these numbers, as the agent writes them."""
    return Column("Vehicle.X", "", kind, str(factor), str(offset), Transform(), 0)


def cantools(raw: float, factor: float, offset: float, is_float: bool) -> Any:
    """What cantools makes of a raw value."""
    return BaseConversion.factory(factor, offset, None, is_float).raw_to_scaled(raw)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), st.one_of(WHOLE, FLOAT), st.one_of(WHOLE, FLOAT))
def test_integers_are_scaled_as_cantools_scales_them(raws: list[int], factor: float, offset: float) -> None:
    """Value and type: an int stays one where both numbers are whole."""
    found = physical(column("int", factor, offset), np.array(raws, np.int64)).tolist()
    expected = [cantools(raw, factor, offset, is_float=False) for raw in raws]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in expected]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=4), st.one_of(WHOLE, FLOAT), st.one_of(WHOLE, FLOAT))
def test_unsigned_integers_of_64_bits_are_read_by_their_bits(raws: list[int], factor: float, offset: float) -> None:
    """The top bit is no sign."""
    found = physical(column("uint", factor, offset), np.array(raws, np.uint64).view(np.int64)).tolist()
    assert found == [cantools(raw, factor, offset, is_float=False) for raw in raws]


@given(st.lists(st.floats(), max_size=4), st.one_of(WHOLE, FLOAT), st.one_of(WHOLE, FLOAT))
def test_doubles_are_read_by_their_bits(raws: list[float], factor: float, offset: float) -> None:
    """NaN, infinity and minus zero included; with factor 1 and offset 0 untouched."""
    with np.errstate(all="ignore"):
        found = physical(column("float64", factor, offset), np.array(raws, np.float64).view(np.int64))
    expected = np.array([float(cantools(raw, factor, offset, is_float=True)) for raw in raws])
    assert found.tobytes() == expected.tobytes() or np.array_equal(found, expected, equal_nan=True)


def test_a_minus_zero_stays_one() -> None:
    """Identity does not add zero to it."""
    assert np.signbit(physical(column("float64"), np.array([-(2**63)]))[0])


@given(st.floats(width=32, allow_nan=False))
def test_floats_of_32_bits_stand_in_the_low_half(value: float) -> None:
    """Whatever the high half holds."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    for raw in (bits, bits | -(2**32)):
        assert physical(column("float32"), np.array([raw]))[0] == value


@pytest.mark.parametrize("kind", ["int", "uint", "float32", "float64"])
@pytest.mark.parametrize(("factor", "offset"), [(1, 0), (2, 1), (0.5, -40)])
def test_no_sample_gives_no_value(kind: str, factor: float, offset: float) -> None:
    """An empty group has columns too."""
    assert physical(column(kind, factor, offset), np.zeros(0, np.int64)).tolist() == []
