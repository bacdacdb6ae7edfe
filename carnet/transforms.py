"""What an item of an offer does to a signal before it leaves the car: rate, on-change, dead-band, rounding, cell,
aggregate.

Law: a transform has one form. A key that is absent does nothing, no key says what is so without it, and a combination
that means nothing is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carnet import canonical, fields
from carnet.errors import FormatError
from carnet.refusals import decimal, integer

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
    def parse(value: object) -> Transform:
        """The transform of a JSON object; FormatError ``transform_malformed`` or ``transform_impossible``."""
        if not isinstance(value, dict) or not set(value) <= _KEYS:
            raise FormatError("transform_malformed", "a transform has a member that is not known")
        try:
            found = Transform(
                interval_ms=integer(value["interval_ms"], 1, INTERVAL_MS_MAX) if "interval_ms" in value else None,
                on_change="on_change" in value,
                dead_band=_positive(value["dead_band"]) if "dead_band" in value else None,
                round=_positive(value["round"]) if "round" in value else None,
                cell_m=integer(value["cell_m"], 1, CELL_M_MAX) if "cell_m" in value else None,
                aggregate=_aggregate(value["aggregate"]) if "aggregate" in value else None,
            )
        except FormatError as error:
            raise FormatError("transform_malformed", str(error)) from None
        if value.get("on_change", True) is not True:
            raise FormatError("transform_malformed", "on_change is true or absent")
        _check_combination(found)
        return found

    def check_path(self, path: str | None) -> None:
        """FormatError ``transform_impossible`` if it cannot be done with this path; None is a whole category."""
        if self.cell_m is not None and path not in (LATITUDE, LONGITUDE):
            raise FormatError("transform_impossible", "a cell is only for the car's latitude and longitude")


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
