"""What an item of an offer does to a signal before it leaves the car: rate, on-change, dead-band, rounding, cell,
aggregate.

Law: a transform has one form. A key that is absent does nothing, no key says what is so without it, and a combination
that means nothing is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from carnet import canonical, fields
from carnet.errors import FormatError
from carnet.refusals import at, decimal, integer

T = TypeVar("T")

INTERVAL_MS_MAX: Final = 86_400_000
CELL_M_MAX: Final = 100_000
LATITUDE: Final = "Vehicle.CurrentLocation.Latitude"
LONGITUDE: Final = "Vehicle.CurrentLocation.Longitude"
AGGREGATE_FIELDS: Final = ("min", "max", "mean", "count", "first", "last", "sum")
_KEYS: Final = frozenset({"interval_ms", "on_change", "dead_band", "round", "cell_m", "aggregate"})


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One row per ``window_ms`` with these fields, in the order of `AGGREGATE_FIELDS`."""

    window_ms: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Transform:
    """None and False: not asked for. Decimals are text in the signal's unit, see `carnet.refusals.decimal`."""

    interval_ms: int | None = None
    on_change: bool = False
    dead_band: str | None = None
    round: str | None = None
    cell_m: int | None = None
    aggregate: Aggregate | None = None

    def document(self) -> dict[str, object]:
        """The JSON object that `parse` reads."""
        found: dict[str, object] = {}
        for key in ("interval_ms", "dead_band", "round", "cell_m"):
            if getattr(self, key) is not None:
                found[key] = getattr(self, key)
        if self.on_change:
            found["on_change"] = True
        if self.aggregate is not None:
            found["aggregate"] = {"window_ms": self.aggregate.window_ms, "fields": list(self.aggregate.fields)}
        return found

    def canonical(self) -> bytes:
        """The bytes that columns are compared by."""
        return canonical.encode(self.document())

    @staticmethod
    def parse(value: object, place: str = "transform") -> Transform:
        """The transform of a JSON object that stands at ``place``; FormatError ``transform_malformed`` or
        ``transform_impossible``, which say where.
        """
        if not isinstance(value, dict) or not set(value) <= _KEYS:
            known = ", ".join(sorted(_KEYS))
            raise FormatError("transform_malformed", f"{place}: is not an object of nothing but {known}")
        found = Transform(
            interval_ms=_read(value, "interval_ms", place, _interval),
            on_change=_read(value, "on_change", place, _true) or False,
            dead_band=_read(value, "dead_band", place, _positive),
            round=_read(value, "round", place, _positive),
            cell_m=_read(value, "cell_m", place, _cell),
            aggregate=_read(value, "aggregate", place, _aggregate),
        )
        with at(place):
            _check_combination(found)
        return found

    def check_path(self, path: str | None) -> None:
        """FormatError ``transform_impossible`` if it cannot be done with this path; None is a whole category."""
        if self.cell_m is not None and path not in (LATITUDE, LONGITUDE):
            raise FormatError("transform_impossible", "a cell is only for the car's latitude and longitude")


def _read(members: dict[str, object], key: str, place: str, reader: Callable[[object], T]) -> T | None:
    """A member that may be absent; FormatError ``transform_malformed`` says which one has not its form."""
    if key not in members:
        return None
    try:
        return reader(members[key])
    except FormatError as error:
        raise FormatError("transform_malformed", f"{place}.{key}: {error}") from None


def _interval(value: object) -> int:
    return integer(value, 1, INTERVAL_MS_MAX)


def _cell(value: object) -> int:
    return integer(value, 1, CELL_M_MAX)


def _true(value: object) -> bool:
    if value is not True:
        raise FormatError("transform_malformed", "is true or absent")
    return True


def _positive(value: object) -> str:
    text = decimal(value)
    if text == "0" or text.startswith("-"):
        raise FormatError("transform_malformed", "a step is not above zero")
    return text


def _aggregate(value: object) -> Aggregate:
    window_ms, names = fields.members(value, "window_ms", "fields")
    chosen = [fields.choice(name, *AGGREGATE_FIELDS) for name in fields.items(names, 1, len(AGGREGATE_FIELDS))]
    if chosen != [name for name in AGGREGATE_FIELDS if name in chosen]:
        raise FormatError("transform_malformed", "the fields of an aggregate stand in their order, each once")
    return Aggregate(integer(window_ms, 1, INTERVAL_MS_MAX), tuple(chosen))


def _check_combination(found: Transform) -> None:
    thinned = found.interval_ms is not None or found.on_change or found.dead_band is not None
    if found.aggregate is not None and (thinned or found.cell_m is not None):
        raise FormatError(
            "transform_impossible", "an aggregate takes every sample: no rate, on-change, dead-band or cell"
        )
    if found.cell_m is not None and (found.round is not None or found.dead_band is not None):
        raise FormatError("transform_impossible", "a cell is already rounded")
