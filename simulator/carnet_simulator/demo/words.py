"""Transforms, reasons and values in words for people at a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from carnet.narrowing import Block, BlockReason
from carnet.signals import is_private
from carnet.transforms import LATITUDE, LONGITUDE

WHY: Final = {
    BlockReason.OFFER: "not asked for",
    BlockReason.OWNER: "the owner said no, or withdrew",
    BlockReason.OPERATOR: "the operator ended or suspended it",
    BlockReason.TENURE: "the car has another owner",
    BlockReason.RECIPIENT: "the recipient ended it",
    BlockReason.TIME: "outside the time of the consent",
    BlockReason.DRIVER: "the driver's mode",
    BlockReason.CEILING: "the ceiling set in the car",
    BlockReason.VEHICLE: "the car has no such signal",
}
SHORT_UNITS: Final = {"percent": "%"}
"""As they are read, where the specification spells them out."""
PRIVATE_WORDS: Final = 4
"""Before message and signal: Vehicle.Private.<bus>.<dbc>."""
NAMED: Final = 2
"""So many paths of one reason are named."""
NAME_MAX: Final = 30
"""So many characters of each."""


def how(transform: dict[str, Any]) -> str:
    """What is done to a reading before it leaves."""
    words = []
    if "aggregate" in transform:
        words.append(
            f"{'/'.join(transform['aggregate']['fields'])} of {transform['aggregate']['window_ms'] / 1000:g} s"
        )
    if "interval_ms" in transform:
        words.append(f"every {transform['interval_ms'] / 1000:g} s")
    if transform.get("on_change"):
        words.append("on change")
    if "dead_band" in transform:
        words.append(f"on change by {transform['dead_band']}")
    if "round" in transform:
        words.append(f"rounded to {transform['round']}")
    if "cell_m" in transform:
        words.append(f"cell of {transform['cell_m']} m")
    return ", ".join(words) or "every reading"


def shortened(path: str, most: int = 44) -> str:
    """A path that fits its column: the end tells more than the beginning, and a word stays whole if it can. Of a signal
    without a path in the specification, message and name.
    """
    short = path.split(".", PRIVATE_WORDS)[-1] if is_private(path) else path.removeprefix("Vehicle.")
    if len(short) <= most:
        return short
    # the sign that it was cut takes one; a dot just before the rest belongs to neither
    rest = short[-most:]
    _, dot, whole = rest.partition(".")
    return "…" + (whole if dot else rest[1:])


def value(found: object, unit: str) -> str:
    """A value as short as it can be told; labels and units are a DBC's, and may hold what a terminal would obey."""
    text = f"{found:.6g}" if isinstance(found, float) else str(found)
    return "".join(each if each.isprintable() else "?" for each in f"{text} {SHORT_UNITS.get(unit, unit)}".strip())


def counted(number: int, noun: str) -> str:
    """So many of them, as one says it."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def asked_and_refused(blocks: Iterable[Block], asked: Iterable[str]) -> dict[str, str]:
    """Path -> who or what says no, of the paths that a recipient asked for under a consent that is given."""
    wanted = set(asked)
    return {
        block.path: WHY[block.reason].partition(",")[0]
        for block in blocks
        if block.path in wanted and block.reason is not BlockReason.OFFER
    }


def refused(blocks: Iterable[Block]) -> list[str]:
    """Blocks of one record, a line for each reason."""
    paths: dict[BlockReason, list[str]] = defaultdict(list)
    for block in blocks:
        paths[block.reason].append(block.path)
    return [
        f"{len(found)} {WHY[reason]}: {_named(found)}"
        for reason, found in sorted(paths.items(), key=lambda each: list(BlockReason).index(each[0]))
    ]


def _named(paths: list[str]) -> str:
    names = ", ".join(shortened(path, NAME_MAX) for path in _plain_first(paths)[:NAMED])
    return names + (" …" if len(paths) > NAMED else "")


def _plain_first(paths: list[str]) -> list[str]:
    """Paths that people know before private ones."""
    return sorted(paths, key=lambda path: (is_private(path), path not in (LATITUDE, LONGITUDE), path))
