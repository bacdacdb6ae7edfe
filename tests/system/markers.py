"""What must not be found in clear, in all the spellings in which it could lie around, and where it may be.

Law: a search that finds nothing is believed only once it has found what was planted, in each spelling.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Marker:
    """``spellings`` of one secret; ``homes``: patterns of the files, relative to the folder, where it may be."""

    name: str
    spellings: tuple[bytes, ...]
    homes: tuple[str, ...] = ()


def of_bytes(name: str, data: bytes, homes: Iterable[str] = ()) -> Marker:
    """As they are, backwards, in hexadecimal, and in base64 at whatever place of a longer text they begin."""
    spellings = {data, data[::-1], data.hex().encode(), data.hex().upper().encode()}
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data)
        # without the characters at both ends that also hold bits of what stands beside
        inner = whole[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        spellings |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return Marker(name, tuple(sorted(spellings)), tuple(homes))


def of_text(name: str, text: str, homes: Iterable[str] = ()) -> Marker:
    """As `of_bytes`, and with two bytes a character."""
    found = of_bytes(name, text.encode(), homes)
    return Marker(name, (*found.spellings, text.encode("utf-16-le"), text.encode("utf-16-be")), found.homes)


def of_number(name: str, value: int, homes: Iterable[str] = ()) -> Marker:
    """In decimal, and as 64 bits in either order."""
    return Marker(name, (str(value).encode(), value.to_bytes(8, "little"), value.to_bytes(8, "big")), tuple(homes))


def search(folder: Path, markers: Iterable[Marker]) -> dict[str, set[str]]:
    """Marker -> files outside its homes that hold it, in their names or in their bytes; nothing for the others."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    contents = {name: name.encode() + b"\0" + path.read_bytes() for name, path in files.items()}
    found: dict[str, set[str]] = {}
    for marker in markers:
        for name, content in contents.items():
            if any(fnmatch(name, home) for home in marker.homes):
                continue
            if any(spelling in content for spelling in marker.spellings):
                found.setdefault(marker.name, set()).add(name)
    return found
