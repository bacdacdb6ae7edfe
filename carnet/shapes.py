"""What a tool needs of an answer before it believes it: named members of these types, whatever else stands beside them.

Law: reading a member that `fits` has seen cannot fail, and showing it moves no cursor. A newer service may say more.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from enum import Enum
from typing import Final

from carnet.limits import NUMBER_MAX

YEAR_10000_MS: Final = 253_402_300_800_000


class Kind(Enum):
    """What a single value is."""

    TEXT = "text without control characters"
    LINES = "text without control characters but the line feed"
    NUMBER = "whole number from 0, below 2^53"
    TIME = "milliseconds since 1970 that a calendar can show"
    TIME_OR_NONE = "such a time, or null"
    FLAG = "true or false"


class Every:
    """An object whose names are data; every value has one shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


Shape = Kind | Every | list["Shape"] | Mapping[str, "Shape"]
"""A kind, ``[shape]`` for a list of such, or members by name, all of which must be there."""


def fits(value: object, shape: Shape) -> bool:
    """Whether a value has at least this shape."""
    if isinstance(shape, Kind):
        return _is(value, shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(each, shape[0]) for each in value)
    if not isinstance(value, dict):
        return False
    if isinstance(shape, Every):
        return all(_is(name, Kind.TEXT) and fits(each, shape.shape) for name, each in value.items())
    return all(name in value and fits(value[name], inner) for name, inner in shape.items())


def _is(value: object, kind: Kind) -> bool:
    if kind is Kind.TEXT:
        return isinstance(value, str) and not any(unicodedata.category(c) in ("Cc", "Cs") for c in value)
    if kind is Kind.LINES:
        return isinstance(value, str) and _is(value.replace("\n", ""), Kind.TEXT)
    if kind is Kind.FLAG:
        return isinstance(value, bool)
    if kind is Kind.TIME_OR_NONE and value is None:
        return True
    return type(value) is int and 0 <= value <= (NUMBER_MAX if kind is Kind.NUMBER else YEAR_10000_MS - 1)
