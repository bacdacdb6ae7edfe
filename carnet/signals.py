"""What a signal is called and how private it is: paths, categories, sensitivities, delivery classes.

Law: a path either stands in the COVESA Vehicle Signal Specification or begins with ``Vehicle.Private.``; a signal that
nobody mapped is private and ``unmapped``, never guessed to be something harmless.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from carnet.errors import FormatError

PATH_SIZE_MAX: Final = 255
"""Characters of a path."""
PRIVATE_ROOT: Final = "Vehicle.Private"

_PATH: Final = re.compile(r"Vehicle(?:\.[A-Za-z0-9_-]+)+")
_OUTSIDE_SEGMENT: Final = re.compile(r"[^A-Za-z0-9_-]")


class Category(StrEnum):
    """What a reading tells about. Owners, driver modes and ceilings speak in these words."""

    LOCATION = "location"
    DRIVING = "driving"
    ENERGY = "energy"
    MAINTENANCE = "maintenance"
    COMFORT = "comfort"
    IDENTITY = "identity"
    UNMAPPED = "unmapped"


class Sensitivity(StrEnum):
    """How much a reading tells about a person."""

    LOW = "low"
    """About the machine."""
    PERSONAL = "personal"
    """About how, when or by whom it is used."""
    SPECIAL = "special"
    """Tells who somebody is or where somebody lives."""


class DeliveryClass(StrEnum):
    """How soon a reading has to leave the car."""

    BACKGROUND = "background"
    LIVE = "live"
    EVENT = "event"


def check_path(text: str) -> str:
    """The path itself if it has the form of one.

    FormatError ``path_malformed``: not ``Vehicle`` followed by segments of letters, digits, ``_`` and ``-``, or longer
    than PATH_SIZE_MAX. Whether the path stands in the specification is the catalogue's question, not this one.
    """
    if len(text) > PATH_SIZE_MAX or not _PATH.fullmatch(text):
        raise FormatError(
            "path_malformed", "a path is 'Vehicle' and segments of letters, digits, '_' or '-' between dots"
        )
    return text


def private_path(bus: str, dbc: str, message: str, signal: str) -> str:
    """The path of a signal that has no name in the specification.

    ``dbc`` is the file's name without ``.dbc``. A character that may not stand in a segment becomes ``_``.
    """
    segments = (_OUTSIDE_SEGMENT.sub("_", part) for part in (bus, dbc, message, signal))
    return check_path(".".join((PRIVATE_ROOT, *segments)))


def is_private(path: str) -> bool:
    """Whether the path is of the form that `private_path` makes."""
    return path.startswith(PRIVATE_ROOT + ".")
