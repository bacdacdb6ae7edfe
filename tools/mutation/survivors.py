"""The survivors that are written down in ``docs/mutation.md``, each with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Final

HEAD: Final = "| file | in | change | why no test can tell |"


def written(document: Path) -> dict[str, str]:
    """Name of a mutant -> the reason; ValueError for a row without one, or one that stands there twice."""
    found: dict[str, str] = {}
    for line in document.read_text(encoding="utf-8").partition(HEAD)[2].splitlines()[2:]:
        if not line.startswith("|"):
            break
        file, place, change, reason = (cell.strip().replace("\\|", "|") for cell in _cells(line))
        name = f"{file.strip('`')} {place.strip('`')}: {change}"
        if not reason or name in found:
            raise ValueError(f"{document.name} has no reason, or two rows, for {name}")
        found[name] = reason
    return found


def row(name: str) -> str:
    """The row of a mutant, with nothing in the place of its reason."""
    where, _, change = name.partition(": ")
    file, _, place = where.partition(" ")
    shown = change.replace("|", "\\|")
    return f"| `{file}` | `{place}` | {shown} | |"


def _cells(line: str) -> list[str]:
    """What stands between bars that no backslash precedes."""
    return [cell.replace("\0", "\\|") for cell in line.replace("\\|", "\0").strip().strip("|").split("|")]
