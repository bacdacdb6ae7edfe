"""The real parts that a test run has exercised: brokers, kernels, databases, captures. Printed at the end of every run.

Law: a part is named where it was really started or read, by the code that did it; never in a list of hopes.
"""

from __future__ import annotations

from pathlib import Path

COMMITTED = Path(__file__).with_name("real-parts.txt")
_seen: dict[str, str] = {}


def real_part(name: str, detail: str = "") -> None:
    """Call once the part has answered; ``name`` stands in ``real-parts.txt``, ``detail`` is its version or source."""
    _seen[name] = detail or _seen.get(name, "")


def seen() -> dict[str, str]:
    """Name -> detail, in the order of the alphabet."""
    return dict(sorted(_seen.items()))


def committed() -> set[str]:
    """The names that a whole run must exercise in CI."""
    lines = COMMITTED.read_text().splitlines()
    return {line.split("#")[0].strip() for line in lines} - {""}
