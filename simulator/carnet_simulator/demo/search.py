"""Searches everything that a demonstration wrote for what must be in none of it: the car's identification number.

Law: a search that finds nothing is believed only if it finds what is there; each one is tried on a text that was
received.
"""

from __future__ import annotations

import re
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
    """Look through every file under ``folder``, byte by byte, whatever its format.

    Digits are found as a number of their own: five of them lie in many a time in milliseconds by chance.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    patterns = [re.compile(_alone(marker)) for marker in markers]
    found, controls = [], []
    for path in files:
        data = path.read_bytes()
        name = str(path.relative_to(folder))
        if any(pattern.search(data) for pattern in patterns):
            found.append(name)
        if control in data:
            controls.append(name)
    return Search(len(files), tuple(found), tuple(controls))


def _alone(marker: bytes) -> bytes:
    return rb"(?<![0-9])%b(?![0-9])" % marker if marker.isdigit() else re.escape(marker)
