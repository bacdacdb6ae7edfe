"""Arguments that ``drive`` and ``replay`` have in common."""

from __future__ import annotations

import argparse
from typing import Final

CHANNEL_HELP: Final = (
    "where a bus goes: vcan…, vxcan…, multicast[:PORT] or off; may be repeated (default: canN goes to vcanN; once "
    "given, buses that are not named are off)"
)


def parse_speed(text: str) -> float | None:
    """``max`` is None; anything else a number above 0."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1e6:
        raise argparse.ArgumentTypeError("write a factor such as 1 or 10, or max")
    return speed
