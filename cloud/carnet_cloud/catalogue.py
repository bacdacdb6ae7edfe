"""What the cloud holds a path to be: unit, category, sensitivity. Read from the mapping files of the operator.

Law: these words come from here and never from a unit in a car;
a path that is not here, or comes with another unit, is denied.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from carnet.errors import ConfigError, FormatError
from carnet.signals import Category, Sensitivity, check_path, is_private


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one path."""

    path: str
    unit: str
    category: Category
    sensitivity: Sensitivity


class Catalogue:
    """Paths by name; two files that say different things of one path are refused at start."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        found: dict[str, Entry] = {}
        for entry in entries:
            if found.setdefault(entry.path, entry) != entry:
                raise ConfigError("catalogue_conflict", f"two mapping files describe {entry.path} differently")
        self._entries = MappingProxyType(found)

    def get(self, path: str) -> Entry | None:
        return self._entries.get(path)

    def like(self, path: str) -> str | None:
        """The known path that reads most like an unknown one, if any does."""
        return next(iter(get_close_matches(path, self._entries, 1, 0.8)), None)

    def paths_of(self, category: Category) -> list[str]:
        """What an offer gets by naming this category: a private path is asked for by its own name only."""
        entries = self._entries.values()
        return sorted(each.path for each in entries if each.category is category and not is_private(each.path))

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def __len__(self) -> int:
        return len(self._entries)


def read_entries(text: bytes, file: str) -> list[Entry]:
    """The paths of one mapping file (``docs/mapping.md``); rows without a path are private to a car and not known here.

    Raises ConfigError with the file's name for anything that is not a mapping.
    """
    try:
        rows = tomllib.loads(text.decode())["signal"]
        return [_entry(row) for row in rows if "path" in row]
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, FormatError) as e:
        raise ConfigError("catalogue_file", f"{file} is not a mapping file (docs/mapping.md): {_word(e)}") from e


def _word(error: Exception) -> str:
    return f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error)


def _entry(row: dict[str, str]) -> Entry:
    return Entry(check_path(row["path"]), row["unit"], Category(row["category"]), Sensitivity(row["sensitivity"]))
