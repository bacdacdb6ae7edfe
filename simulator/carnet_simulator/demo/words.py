"""Transforms, reasons and values in words for people at a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from carnet.narrowing import Block, BlockReason

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
NAMED: Final = 2
"""So many paths of one reason are named."""


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
        words.append(f"to {transform['round']}")
    if "cell_m" in transform:
        words.append(f"cell of {transform['cell_m']} m")
    return ", ".join(words) or "every reading"


def value(found: object, unit: str) -> str:
    """A value as short as it can be told."""
    text = f"{found:.6g}" if isinstance(found, float) else str(found)
    return f"{text} {unit}".strip()


def refused(blocks: Iterable[Block]) -> list[str]:
    """Blocks of one record, a line for each reason."""
    paths: dict[BlockReason, list[str]] = defaultdict(list)
    for block in blocks:
        paths[block.reason].append(block.path.removeprefix("Vehicle."))
    return [
        f"{len(names):>4} {WHY[reason]}: {', '.join(_plain_first(names)[:NAMED])}{' …' if len(names) > NAMED else ''}"
        for reason, names in sorted(paths.items(), key=lambda each: list(BlockReason).index(each[0]))
    ]


def _plain_first(names: list[str]) -> list[str]:
    """Names that people know before private ones."""
    return sorted(names, key=lambda name: (name.startswith("Private."), not name.startswith("CurrentLocation"), name))
