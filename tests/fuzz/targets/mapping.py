"""Whatever the bytes, load_mapping raises MappingError or returns a mapping with one path for every signal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from carnet.errors import MappingError
from carnet.signals import check_path
from carnet_agent.dbc.mapping import load_mapping

SHA256 = "ab" * 32
UNITS = {("M", "s"): "km/h", ("M", "t"): "degC", ("M", "n"): "", ("N", "s"): "%"}
SMALL = f"""[dbc]
name = "car.dbc"
sha256 = "{SHA256}"
checksum = "toyota"

[[signal]]
message = "M"
signal = "s"
path = "Vehicle.Speed"
unit = "km/h"
category = "driving"
sensitivity = "personal"
counter = "n"
checksum = "t"

[[signal]]
message = "M"
signal = "t"
bus = "can0"
category = "comfort"
sensitivity = "low"
not_available = 255
"""


def seeds() -> Iterable[bytes]:
    yield SMALL.encode()
    yield SMALL.replace('bus = "can0"\n', 'path = "Vehicle.Speed"\nunit = "Celsius"\n').encode()
    yield next(Path(__file__).parents[3].joinpath("dbc").glob("carnet_demo_body.map.toml")).read_bytes()


def check(data: bytes) -> None:
    try:
        mapping = load_mapping(data, SHA256, UNITS)
    except MappingError:
        return
    assert all((row.message, row.signal) in UNITS for row in mapping.rows)
    for bus in ("can0", "can1"):
        paths = [mapping.path_of(bus, mapping.dbc, *name).path for name in UNITS]
        assert len(set(paths)) == len(paths)
        assert all(map(check_path, paths))
