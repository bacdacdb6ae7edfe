"""What the demo knows of a car's signals: names from DBC or capture, meaning from the mapping files.

Law: nothing here reads a value. A signal without a row is private, unmapped and as sensitive as it could be.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carnet.errors import MappingError
from carnet.narrowing import Kind
from carnet.signals import Category, Sensitivity, private_path


@dataclass(frozen=True, slots=True)
class Bus:
    """One bus of the car. ``mapping``: the mapping files of its DBCs."""

    name: str
    dbc: tuple[Path, ...]
    mapping: tuple[Path, ...]
    match: str = "id"


@dataclass(frozen=True, slots=True)
class Name:
    """A signal as the DBC names it; ``dbc`` is the file's name without ``.dbc``."""

    bus: str
    dbc: str
    message: str
    signal: str
    unit: str


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal of the car as recipients, owners and the cloud call it."""

    path: str
    unit: str
    kind: Kind


def describe(names: Iterable[Name], mappings: Sequence[Path]) -> tuple[Signal, ...]:
    """Every signal with its path, unit and kind; two with one path count once. MappingError ``mapping_syntax``."""
    rows: dict[tuple[str, str, str, str | None], dict[str, Any]] = {}
    for path in mappings:
        document = _document(path)
        dbc = str(document["dbc"]["name"]).removesuffix(".dbc")
        for row in document.get("signal", []):
            rows[dbc, row["message"], row["signal"], row.get("bus")] = row
    found: dict[str, Signal] = {}
    for name in names:
        key = (name.dbc, name.message, name.signal)
        signal = _signal(name, rows.get((*key, name.bus)) or rows.get((*key, None)))
        found.setdefault(signal.path, signal)
    return tuple(found.values())


def kinds(signals: Iterable[Signal]) -> dict[str, Kind]:
    """Path -> kind, as `carnet.narrowing` wants it."""
    return {signal.path: signal.kind for signal in signals}


def cloud_catalogue(signals: Iterable[Signal]) -> str:
    """A mapping file for the cloud's catalogue that knows exactly these paths; private ones too."""
    rows = [
        f'[[signal]]\npath = "{signal.path}"\nunit = {_toml_text(signal.unit)}\n'
        f'category = "{signal.kind.category}"\nsensitivity = "{signal.kind.sensitivity}"\n'
        for signal in signals
    ]
    return "# What the cloud holds the paths of this demonstration to be.\n\n" + "\n".join(rows or ["signal = []\n"])


def mapped_dbc(path: Path) -> str:
    """The DBC that a mapping file is for, without ``.dbc``."""
    return str(_document(path)["dbc"]["name"]).removesuffix(".dbc")


def _document(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        document["dbc"]["name"]
    except OSError as error:
        raise MappingError("mapping_missing", f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise MappingError("mapping_syntax", f"{path} is not a mapping file") from None
    return document


def _signal(name: Name, row: dict[str, Any] | None) -> Signal:
    private = private_path(name.bus, name.dbc, name.message, name.signal)
    if row is None:
        return Signal(private, name.unit, Kind(Category.UNMAPPED, Sensitivity.SPECIAL))
    kind = Kind(Category(row["category"]), Sensitivity(row["sensitivity"]))
    return Signal(row.get("path", private), row.get("unit", name.unit), kind)


def _toml_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
