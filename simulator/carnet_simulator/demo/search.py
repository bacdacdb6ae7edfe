"""Searches everything that a demonstration wrote for what must be in none of it: the car's identification number.

Law: a search that finds nothing is believed only if it finds what is there; each one is tried on a text that was
received.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Search:
    """``found``: files, relative to the folder, that hold a marker; ``control``: files that hold the known text."""

    files: int
    found: tuple[str, ...]
    control: tuple[str, ...]


def search(folder: Path, markers: Sequence[bytes], control: bytes) -> Search:
    """Look through every file under ``folder``, byte by byte, whatever its format."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found, controls = [], []
    for path in files:
        data = path.read_bytes()
        name = str(path.relative_to(folder))
        if any(marker in data for marker in markers):
            found.append(name)
        if control in data:
            controls.append(name)
    return Search(len(files), tuple(found), tuple(controls))
