"""The real parts that a test run has exercised: brokers, kernels, databases, captures. Printed at the end of every run.

Law: a part is named where it was really started or read, by the code that did it; never in a list of hopes. What is
printed does not depend on the order of the tests, nor on which process each of them ran in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

COMMITTED = Path(__file__).with_name("real-parts.txt")
_seen: dict[str, set[str]] = {}


def real_part(name: str, detail: str = "") -> None:
    """Call once the part has answered; ``name`` stands in ``real-parts.txt``, ``detail`` is its version or source."""
    _seen.setdefault(name, set()).update({detail} - {""})


def seen() -> dict[str, list[str]]:
    """Name -> details, both in the order of the alphabet."""
    return {name: sorted(details) for name, details in sorted(_seen.items())}


def seen_elsewhere(parts: Mapping[str, Iterable[str]]) -> None:
    """Add what another process of this run has exercised, as its ``seen`` says."""
    for name, details in parts.items():
        _seen.setdefault(name, set()).update(details)


def committed() -> set[str]:
    """The names that a whole run must exercise in CI."""
    lines = COMMITTED.read_text().splitlines()
    return {line.split("#")[0].strip() for line in lines} - {""}
