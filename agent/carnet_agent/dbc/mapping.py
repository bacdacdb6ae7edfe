"""Mapping files: which path, unit, category and sensitivity a DBC's signal has. The form is in ``docs/mapping.md``.

Law: a mapping holds for the one DBC whose SHA-256 it names, it never converts a unit, and a signal without a row is
private and unmapped.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping as Lookup
from dataclasses import dataclass
from typing import Any, Final

from carnet.checksums import ALGORITHMS
from carnet.errors import FormatError, MappingError
from carnet.signals import Category, Sensitivity, check_path, is_private, private_path

SIZE_BYTES_MAX: Final = 1 << 20
"""Bytes of a mapping file."""

SPELLINGS: Final[dict[str, frozenset[str]]] = {
    "Celsius": frozenset({"degC", "°C", "C", "deg C"}),
    "V": frozenset({"volt", "volts"}),
    "degrees": frozenset({"deg", "°"}),
    "degrees/s": frozenset({"deg/s", "°/s"}),
    "km/h": frozenset({"kph", "kmh"}),
    "l": frozenset({"L", "litre", "liter"}),
    "m/s^2": frozenset({"m/s/s", "m/s2", "m/s²"}),
    "percent": frozenset({"%"}),
    "rpm": frozenset({"1/min", "RPM"}),
}
"""Unit of the specification -> other spellings of the very same unit that DBCs use."""

NAME_MAX: Final = 64
"""Characters of a DBC's file name without its ending: they stand in the path of each signal that has no other."""
_DBC_KEYS: Final = {"name", "sha256", "checksum"}
_ROW_KEYS: Final = {
    "message", "signal", "path", "unit", "category", "sensitivity", "bus", "counter", "checksum", "not_available",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MappedSignal:
    """What is said about one signal on one bus."""

    path: str
    unit: str
    """As the specification writes it; of a private path as the DBC writes it. Empty: none."""
    category: Category
    sensitivity: Sensitivity
    counter: str | None = None
    """Signal of the same message that counts up with every frame."""
    checksum: str | None = None
    """Signal of the same message that holds the checksum; the algorithm is `Mapping.checksum`."""
    not_available: int | None = None
    """Raw value that says there is no reading."""


@dataclass(frozen=True, slots=True)
class Row:
    """One ``[[signal]]`` of the file."""

    message: str
    signal: str
    bus: str | None
    """Bus on which the row holds; None: on every bus that uses this DBC."""
    path: str | None
    """None: the signal has no name in the specification and gets its private path."""
    unit: str
    category: Category
    sensitivity: Sensitivity
    counter: str | None
    checksum: str | None
    not_available: int | None


@dataclass(frozen=True, slots=True)
class Mapping:
    """A parsed mapping file; every row names a signal that the DBC has."""

    dbc: str
    """The DBC's file name without ``.dbc``."""
    dbc_sha256: str
    checksum: str | None
    """Name in `carnet.checksums.ALGORITHMS` of the checksum that this DBC's messages carry."""
    rows: tuple[Row, ...]
    units: Lookup[tuple[str, str], str]
    """(message, signal) -> unit, for every signal of the DBC."""
    _index: Lookup[tuple[str | None, str, str], Row]

    @classmethod
    def empty(cls, dbc: str, dbc_sha256: str, units: Lookup[tuple[str, str], str]) -> Mapping:
        """The mapping of a DBC without a mapping file: every signal is private and unmapped."""
        return cls(dbc, dbc_sha256, None, (), units, {})

    def path_of(self, bus: str, dbc: str, message: str, signal: str) -> MappedSignal:
        """What is said about a signal; without a row the private path, category unmapped, sensitivity special.

        A row for this very bus is preferred to one for every bus. ``dbc`` is the file's name without ``.dbc``.
        """
        own = dbc == self.dbc
        row = (self._index.get((bus, message, signal)) or self._index.get((None, message, signal))) if own else None
        private = private_path(bus, dbc, message, signal)
        if row is None:
            # Nobody said what it is, so it is treated as the worst it could be.
            unit = self.units.get((message, signal), "") if own else ""
            return MappedSignal(private, unit, Category.UNMAPPED, Sensitivity.SPECIAL)
        return MappedSignal(
            path=row.path or private,
            unit=row.unit,
            category=row.category,
            sensitivity=row.sensitivity,
            counter=row.counter,
            checksum=row.checksum,
            not_available=row.not_available,
        )


def load_mapping(
    text: bytes, dbc_sha256: str, units: Lookup[tuple[str, str], str], *, file: str = "the mapping"
) -> Mapping:
    """Parse a mapping file for the DBC with this SHA-256 (hexadecimal) and these signals.

    ``units``: (message, signal) -> unit of every signal of the DBC. ``file`` stands in the sentence of a refusal.
    MappingError for anything that is not exactly right; its reason is one of ``mapping_too_large``,
    ``mapping_syntax``, ``mapping_key``, ``mapping_value``, ``mapping_dbc_differs``, ``mapping_signal_unknown``,
    ``mapping_unit``, ``mapping_path``, ``mapping_duplicate``.
    """
    document = _document(text, file)
    head = document["dbc"]
    name = _text(head, "name", f"{file}: [dbc]")
    if not name.endswith(".dbc") or not 0 < len(name.removesuffix(".dbc")) <= NAME_MAX:
        raise MappingError(
            "mapping_value",
            f"{file}: [dbc] name must be the DBC's file name: 1 to {NAME_MAX} characters and .dbc",
        )
    if _text(head, "sha256", f"{file}: [dbc]") != dbc_sha256:
        raise MappingError(
            "mapping_dbc_differs",
            f"{file}: written for another DBC than its bus has: put the {name} that it was written for under dbc, or "
            f"compare the rows with this one and set [dbc] sha256 "
            f'to "{dbc_sha256}"',
        )
    algorithm = head.get("checksum")
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise MappingError("mapping_value", f"{file}: [dbc] checksum must be one of {', '.join(ALGORITHMS)}")
    rows = tuple(
        _row(entry, units, algorithm, f"{file}: signal {number}") for number, entry in enumerate(document["signal"], 1)
    )
    return Mapping(name.removesuffix(".dbc"), dbc_sha256, algorithm, rows, units, _index(rows, file))


def _document(text: bytes, file: str) -> dict[str, Any]:
    if len(text) > SIZE_BYTES_MAX:
        raise MappingError("mapping_too_large", f"{file}: a mapping has at most {SIZE_BYTES_MAX} bytes")
    try:
        document = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MappingError("mapping_syntax", f"{file}: is not TOML in UTF-8: {error}") from None
    _check_keys(document, {"dbc", "signal"}, file)
    document.setdefault("signal", [])
    if not isinstance(document.get("dbc"), dict):
        raise MappingError("mapping_value", f"{file}: needs a table [dbc] with name and sha256")
    if not isinstance(document["signal"], list) or not all(isinstance(row, dict) for row in document["signal"]):
        raise MappingError("mapping_value", f"{file}: 'signal' must be written as [[signal]] tables")
    _check_keys(document["dbc"], _DBC_KEYS, f"{file}: [dbc]")
    return document


def _row(entry: dict[str, Any], units: Lookup[tuple[str, str], str], algorithm: str | None, where: str) -> Row:
    _check_keys(entry, _ROW_KEYS, where)
    message, signal = _text(entry, "message", where), _text(entry, "signal", where)
    where = f"{where} ({message}.{signal})"
    _check_signal(units, message, signal, where)
    for key in ("counter", "checksum"):
        if key in entry:
            _check_signal(units, message, _text(entry, key, where), f"{where}: {key}")
    if "checksum" in entry and algorithm is None:
        raise MappingError("mapping_value", f"{where}: a checksum needs its algorithm in [dbc] checksum")
    return Row(
        message=message,
        signal=signal,
        bus=_optional_text(entry, "bus", where),
        path=_path(entry, where),
        unit=_unit(entry, units[message, signal], where),
        category=_category(entry, where),
        sensitivity=_sensitivity(entry, where),
        counter=_optional_text(entry, "counter", where),
        checksum=_optional_text(entry, "checksum", where),
        not_available=_not_available(entry, where),
    )


def _index(rows: tuple[Row, ...], file: str) -> dict[tuple[str | None, str, str], Row]:
    index: dict[tuple[str | None, str, str], Row] = {}
    paths: set[str] = set()
    for number, row in enumerate(rows, 1):
        key = (row.bus, row.message, row.signal)
        where = f"{file}: signal {number} ({row.message}.{row.signal})"
        if key in index:
            raise MappingError("mapping_duplicate", f"{where}: this signal has a row already; remove one of them")
        if row.path in paths:
            raise MappingError("mapping_duplicate", f"{where}: the path {row.path} is taken; one path names one signal")
        index[key] = row
        if row.path is not None:
            paths.add(row.path)
    return index


def _check_keys(table: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise MappingError("mapping_key", f"{where}: unknown key '{unknown[0]}'; known are {', '.join(sorted(known))}")


def _check_signal(units: Lookup[tuple[str, str], str], message: str, signal: str, where: str) -> None:
    if (message, signal) not in units:
        raise MappingError("mapping_signal_unknown", f"{where}: the DBC has no signal {message}.{signal}")


def _text(table: dict[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise MappingError("mapping_value", f"{where}: '{key}' is missing or not a text")
    return value


def _optional_text(table: dict[str, Any], key: str, where: str) -> str | None:
    return _text(table, key, where) if key in table else None


def _path(entry: dict[str, Any], where: str) -> str | None:
    path = _optional_text(entry, "path", where)
    if path is None:
        return None
    try:
        check_path(path)
    except FormatError as error:
        raise MappingError("mapping_path", f"{where}: {error}") from None
    if is_private(path):
        raise MappingError("mapping_path", f"{where}: leave 'path' out for a private path")
    return path


def _unit(entry: dict[str, Any], dbc_unit: str, where: str) -> str:
    if "path" not in entry and "unit" not in entry:
        return dbc_unit
    unit = entry.get("unit")
    if not isinstance(unit, str):
        raise MappingError("mapping_value", f"{where}: 'unit' is missing or not a text; write \"\" for none")
    if unit != dbc_unit and dbc_unit not in SPELLINGS.get(unit, frozenset()):
        raise MappingError(
            "mapping_unit",
            f"{where}: unit '{unit}' is not the DBC's '{dbc_unit}'; nothing is converted: choose a path in that unit",
        )
    return unit


def _category(entry: dict[str, Any], where: str) -> Category:
    allowed = [category for category in Category if category is not Category.UNMAPPED]
    if entry.get("category") not in allowed:
        raise MappingError("mapping_value", f"{where}: 'category' must be one of {', '.join(allowed)}")
    return Category(entry["category"])


def _sensitivity(entry: dict[str, Any], where: str) -> Sensitivity:
    if entry.get("sensitivity") not in list(Sensitivity):
        raise MappingError("mapping_value", f"{where}: 'sensitivity' must be one of {', '.join(Sensitivity)}")
    return Sensitivity(entry["sensitivity"])


def _not_available(entry: dict[str, Any], where: str) -> int | None:
    value = entry.get("not_available")
    if value is not None and type(value) is not int:
        raise MappingError("mapping_value", f"{where}: 'not_available' must be the signal's raw value, a whole number")
    return value
