"""Strict members of consent documents beyond `carnet.fields`, and one reason per document for whatever has not its
form.

Law: a text for people has one spelling and shows what it says; names, numbers and ids have exactly one form.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, Final, ParamSpec, TypeVar

from carnet import fields, ids
from carnet.errors import ConsentError, FormatError
from carnet.limits import NUMBER_MAX

Rules = ParamSpec("Rules")
T = TypeVar("T")

DAY_MS: Final = 86_400_000
_FORM: Final = frozenset({"base64url", "body_malformed", "id_malformed", "path_malformed"})
"""Reasons of the readers of single members: the document's own reason says more."""
_JOINERS: Final = frozenset("\u200c\u200d")
"""Zero width (non-)joiner: Persian, Hindi and others cannot be written without them."""
_DECEPTIVE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{0,8}[1-9])?", re.ASCII)


@contextmanager
def refused_as(reason: str) -> Iterator[None]:
    """Turn what a reader of a single member refuses into ConsentError ``reason``; other errors pass."""
    try:
        yield
    except FormatError as error:
        if error.reason not in _FORM:
            raise
        raise ConsentError(reason, str(error)) from None


@contextmanager
def at(place: str) -> Iterator[None]:
    """Say before what a reader refuses where in the document it stands, like ``items[3].path``."""
    try:
        yield
    except FormatError as error:
        raise FormatError(error.reason, f"{place}: {error}") from None


class Members:
    """The members of an object that has exactly these; ``place`` is where it stands, empty for the document itself.

    Whatever is refused of it says where. FormatError ``body_malformed`` if one is missing or does not belong there.
    """

    def __init__(self, value: object, place: str, *names: str) -> None:
        self._place = place
        if not isinstance(value, dict):
            raise FormatError("body_malformed", f"{place or 'the document'}: is not an object")
        missing = [name for name in names if name not in value]
        if missing:
            raise FormatError("body_malformed", f"{self.place_of(missing[0])}: is missing")
        if len(value) > len(names):
            allowed = ", ".join(names)
            raise FormatError(
                "body_malformed", f"{place or 'the document'}: has a member that is not known; known are {allowed}"
            )
        self._values = value

    def place_of(self, name: str) -> str:
        """Where a member stands in the document."""
        return f"{self._place}.{name}" if self._place else name

    def read(
        self, name: str, reader: Callable[Concatenate[object, Rules], T], *rules: Rules.args, **more: Rules.kwargs
    ) -> T:
        """What ``reader`` makes of a member under these rules."""
        with at(self.place_of(name)):
            return reader(self._values[name], *rules, **more)

    def value(self, name: str) -> object:
        """A member that has an inside: who reads it says where himself."""
        return self._values[name]


def named_members(value: object, *names: str) -> dict[str, object]:
    """The members of an object that has exactly these, by their names. FormatError ``body_malformed``."""
    return dict(zip(names, fields.members(value, *names), strict=True))


def integer(value: object, smallest: int, largest: int = NUMBER_MAX) -> int:
    """An integer of this range; true and false are none. FormatError ``body_malformed``."""
    if type(value) is not int or not smallest <= value <= largest:
        raise FormatError("body_malformed", f"a number is not an integer from {smallest} to {largest}")
    return value


def text_for_people(value: object, bytes_max: int, *, empty: bool = False) -> str:
    """Words that somebody will read and agree to, of at most ``bytes_max`` bytes in UTF-8.

    FormatError ``body_malformed``, or ``text_deceptive``: not in Unicode's normal form C, blank at an end, or with
    characters that are invisible or turn the direction of writing.
    """
    if not isinstance(value, str) or len(value.encode()) > bytes_max or not (value or empty):
        raise FormatError("body_malformed", f"a text is empty or has more than {bytes_max} bytes")
    if unicodedata.normalize("NFC", value) != value or value.strip() != value:
        raise FormatError("text_deceptive", "a text is not in normal form C or begins or ends with a blank")
    if any(unicodedata.category(c) in _DECEPTIVE and c not in _JOINERS for c in value):
        raise FormatError(
            "text_deceptive", "a text holds a character that is invisible or turns the direction of writing"
        )
    return value


def decimal(value: object) -> str:
    """A decimal number as text in its one form: no exponent, no plus, no trailing zero, no -0. FormatError
    ``body_malformed``.
    """
    if not isinstance(value, str) or _DECIMAL.fullmatch(value) is None or value == "-0":
        raise FormatError(
            "body_malformed", "a decimal is not text like -12.5, of 15 digits before and 9 after the point"
        )
    return value


def boolean(value: object) -> bool:
    """True or false; 0 and 1 are neither. FormatError ``body_malformed``."""
    if not isinstance(value, bool):
        raise FormatError("body_malformed", "a member is neither true nor false")
    return value


def identity(value: object, prefix: str) -> str:
    """The text of an offer, record, recipient or tenant. FormatError ``id_malformed``."""
    text = value if isinstance(value, str) else ""
    ids.parse_id(text, prefix)
    return text


def vehicle_text(value: object) -> str:
    """The text of a vehicle. FormatError ``id_malformed``."""
    text = value if isinstance(value, str) else ""
    ids.device_bytes(text)
    return text
