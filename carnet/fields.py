"""Reading the members of a parsed JSON document strictly.

Law: every member that is listed is there, no other is, and each has the one type and range that the document gives it.
Everything else is FormatError ``body_malformed``.
"""

from __future__ import annotations

import itertools
import re
from typing import TypeVar

from carnet.errors import FormatError
from carnet.limits import NUMBER_MAX

_Ordered = TypeVar("_Ordered", bytes, str)


def members(value: object, *names: str) -> tuple[object, ...]:
    """The values of an object with exactly these members, in the order of ``names``."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise _malformed(f"an object has not exactly the members {', '.join(names)}")
    return tuple(value[name] for name in names)


def items(value: object, count_min: int, count_max: int) -> list[object]:
    """A list of so many items."""
    if not isinstance(value, list) or not count_min <= len(value) <= count_max:
        raise _malformed(f"a list has not {count_min} to {count_max} items")
    return value


def number(value: object, smallest: int = 0) -> int:
    """An integer from ``smallest`` to 2^53 - 1; true and false are none."""
    if type(value) is not int or not smallest <= value <= NUMBER_MAX:
        raise _malformed(f"a number is not an integer of at least {smallest} and below 2^53")
    return value


def text(value: object, pattern: re.Pattern[str]) -> str:
    """A text that matches ``pattern`` as a whole."""
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise _malformed("a text has not its prescribed form")
    return value


def choice(value: object, *choices: str) -> str:
    """One of these texts."""
    if not isinstance(value, str) or value not in choices:
        raise _malformed(f"a text is none of {', '.join(choices)}")
    return value


def hex_bytes(value: object, size: int) -> bytes:
    """The bytes behind exactly ``2 * size`` lower-case hexadecimal digits."""
    if not isinstance(value, str) or re.fullmatch(f"[0-9a-f]{{{2 * size}}}", value) is None:
        raise _malformed(f"a text is not {2 * size} lower-case hexadecimal digits")
    return bytes.fromhex(value)


def ascending(values: tuple[_Ordered, ...]) -> tuple[_Ordered, ...]:
    """The same values, if each is greater than the one before."""
    if any(one >= other for one, other in itertools.pairwise(values)):
        raise _malformed("a list is not strictly ascending")
    return values


def _malformed(message: str) -> FormatError:
    return FormatError("body_malformed", message)
