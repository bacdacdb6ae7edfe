"""A ceiling as JSON: over the local socket, and beside the grants on disk.

Law: what cannot be read is refused whole, and read from the disk lets nothing through.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, Final

from carnet import fields
from carnet.errors import ConfigError, FormatError
from carnet.narrowing import Ceiling
from carnet.signals import Category, Sensitivity

NOTHING: Final = Ceiling(frozenset(), Sensitivity.LOW)
_MEMBERS: Final = ("categories", "sensitivity", "interval_ms_min")


def document_of(ceiling: Ceiling) -> dict[str, Any]:
    """The ceiling as an object for JSON."""
    return {
        "categories": sorted(ceiling.categories),
        "sensitivity": ceiling.sensitivity.value,
        "interval_ms_min": dict(sorted(ceiling.interval_ms_min.items())),
    }


def ceiling_of(document: object) -> Ceiling:
    """The ceiling in such an object; ConfigError ``ceiling_malformed``."""
    try:
        categories, sensitivity, intervals = fields.members(document, *_MEMBERS)
        if not isinstance(intervals, dict):
            raise _malformed()
        least = {Category(name): fields.number(ms, 1) for name, ms in intervals.items()}
        named = frozenset(Category(fields.choice(name, *Category)) for name in fields.items(categories, 0, 64))
        return Ceiling(named, Sensitivity(fields.choice(sensitivity, *Sensitivity)), MappingProxyType(least))
    except (FormatError, ValueError) as error:
        raise _malformed() from error


def stored(data: bytes | None) -> Ceiling:
    """What lies on disk: no ceiling at all lets everything through, a damaged one nothing."""
    if not data:
        return Ceiling()
    try:
        return ceiling_of(json.loads(data))
    except (ConfigError, ValueError):
        return NOTHING


def _malformed() -> ConfigError:
    return ConfigError("ceiling_malformed", "a ceiling has categories, a sensitivity and least intervals in ms")
