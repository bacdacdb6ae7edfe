"""Mapping files: what is read from them, what is refused, and that ours speak the specification's paths and units."""

from __future__ import annotations

import gzip
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import cantools
import numpy as np
import pytest

from carnet.checksums import ALGORITHMS
from carnet.errors import MappingError
from carnet.signals import Category, Sensitivity
from carnet_agent.dbc.mapping import SIZE_BYTES_MAX, Mapping, load_mapping
from tests.conftest import CHECKOUT, shared_data
from tests.realparts import real_part

FILES = sorted((CHECKOUT / "dbc").glob("*.map.toml"))
SHA = "ab" * 32
UNITS = {("Motion", "Speed"): "km/h", ("Motion", "Angle"): "deg", ("Motion", "Counter"): "", ("Door", "Open"): ""}

GOOD = f"""
[dbc]
name = "demo.v1.dbc"
sha256 = "{SHA}"
checksum = "crc8"

[[signal]]
message = "Motion"
signal = "Speed"
path = "Vehicle.Speed"
unit = "km/h"
category = "driving"
sensitivity = "personal"
counter = "Counter"
checksum = "Counter"
not_available = 65535

[[signal]]
message = "Motion"
signal = "Angle"
category = "driving"
sensitivity = "low"

[[signal]]
bus = "can1"
message = "Door"
signal = "Open"
path = "Vehicle.Body.Hood.IsOpen"
unit = ""
category = "comfort"
sensitivity = "personal"
"""


def load(text: str = GOOD) -> Mapping:
    return load_mapping(text.encode(), SHA, UNITS)


def refused(text: str) -> MappingError:
    with pytest.raises(MappingError) as refusal:
        load(text)
    return refusal.value


def test_a_row_gives_path_unit_category_and_quality_signals() -> None:
    """Everything the file says about a signal comes out as it is."""
    speed = load().path_of("can0", "demo.v1", "Motion", "Speed")
    assert (speed.path, speed.unit) == ("Vehicle.Speed", "km/h")
    assert (speed.category, speed.sensitivity) == (Category.DRIVING, Sensitivity.PERSONAL)
    assert (speed.counter, speed.checksum, speed.not_available) == ("Counter", "Counter", 65535)


def test_a_row_without_path_classifies_a_private_signal() -> None:
    """The VIN's bytes have no name in the specification, but they are identity."""
    angle = load().path_of("can0", "demo.v1", "Motion", "Angle")
    assert (angle.path, angle.unit) == ("Vehicle.Private.can0.demo_v1.Motion.Angle", "deg")
    assert (angle.category, angle.sensitivity) == (Category.DRIVING, Sensitivity.LOW)


@pytest.mark.parametrize(
    "bus, dbc, signal",
    [("can0", "demo.v1", "Counter"), ("can0", "other", "Speed"), ("can0", "demo.v1", "Nothing")],
)
def test_a_signal_without_a_row_is_private_unmapped_and_special(bus: str, dbc: str, signal: str) -> None:
    """Also a signal of the same name in another DBC."""
    found = load().path_of(bus, dbc, "Motion", signal)
    assert found.path == f"Vehicle.Private.{bus}.{dbc.replace('.', '_')}.Motion.{signal}"
    assert (found.category, found.sensitivity) == (Category.UNMAPPED, Sensitivity.SPECIAL)


def test_a_row_for_one_bus_says_nothing_about_another() -> None:
    """The same DBC may be used on two buses for two devices."""
    mapping = load()
    assert mapping.path_of("can1", "demo.v1", "Door", "Open").path == "Vehicle.Body.Hood.IsOpen"
    assert mapping.path_of("can0", "demo.v1", "Door", "Open").category == Category.UNMAPPED


def test_a_dbc_without_a_mapping_has_only_private_signals() -> None:
    """The unit is still the DBC's."""
    found = Mapping.empty("demo", SHA, UNITS).path_of("can0", "demo", "Motion", "Speed")
    assert (found.path, found.unit) == ("Vehicle.Private.can0.demo.Motion.Speed", "km/h")
    assert found.category == Category.UNMAPPED


def test_another_dbc_is_refused_with_the_hash_to_write() -> None:
    """One sentence that says what to do."""
    with pytest.raises(MappingError) as refusal:
        load_mapping(GOOD.encode(), "cd" * 32, UNITS, file="demo.map.toml")
    assert refusal.value.reason == "mapping_dbc_differs"
    assert "demo.map.toml" in str(refusal.value) and "cd" * 32 in str(refusal.value)


@pytest.mark.parametrize(
    "old, new, reason",
    [
        ("[dbc]", "[dbc", "mapping_syntax"),
        ("[dbc]", "extra = 1\n[dbc]", "mapping_key"),
        ('name = "demo.v1.dbc"', 'name = "demo.v1.dbc"\nsha1 = ""', "mapping_key"),
        ('signal = "Speed"', 'signal = "Speed"\nfactor = 2', "mapping_key"),
        ('name = "demo.v1.dbc"', "", "mapping_value"),
        ('name = "demo.v1.dbc"', 'name = "demo"', "mapping_value"),
        ('name = "demo.v1.dbc"', 'name = ".dbc"', "mapping_value"),
        ('name = "demo.v1.dbc"', f'name = "{"n" * 65}.dbc"', "mapping_value"),
        ('checksum = "crc8"', 'checksum = "xor"', "mapping_value"),
        ('checksum = "crc8"', "", "mapping_value"),
        ('message = "Motion"\nsignal = "Angle"', 'signal = "Angle"', "mapping_value"),
        ('category = "comfort"', 'category = "unmapped"', "mapping_value"),
        ('category = "comfort"', 'category = "fun"', "mapping_value"),
        ('category = "comfort"', "category = []", "mapping_value"),
        ('category = "comfort"', "", "mapping_value"),
        ('sensitivity = "low"', 'sensitivity = "LOW"', "mapping_value"),
        ("not_available = 65535", "not_available = true", "mapping_value"),
        ("not_available = 65535", "not_available = 1.0", "mapping_value"),
        ('bus = "can1"', "bus = 1", "mapping_value"),
        ('unit = "km/h"', "", "mapping_value"),
        ('unit = "km/h"', 'unit = "m/s"', "mapping_unit"),
        ('unit = ""', 'unit = "percent"', "mapping_unit"),
        ('signal = "Angle"', 'signal = "Angel"', "mapping_signal_unknown"),
        ('counter = "Counter"', 'counter = "Open"', "mapping_signal_unknown"),
        ('path = "Vehicle.Speed"', 'path = "Speed"', "mapping_path"),
        ('path = "Vehicle.Speed"', 'path = "Vehicle.Private.x"', "mapping_path"),
        ('signal = "Angle"', 'signal = "Speed"', "mapping_duplicate"),
        (
            'path = "Vehicle.Speed"\nunit = "km/h"',
            'path = "Vehicle.Body.Hood.IsOpen"\nunit = "km/h"',
            "mapping_duplicate",
        ),
    ],
)
def test_a_file_that_is_not_exactly_right_is_refused(old: str, new: str, reason: str) -> None:
    """One thing wrong, one reason, nothing read."""
    assert GOOD.count(old) >= 1
    assert refused(GOOD.replace(old, new, 1)).reason == reason


def test_a_file_of_the_wrong_shape_is_refused() -> None:
    """No traceback for tables where lists belong, nor for bytes that are no text."""
    assert refused(f'[dbc]\nname = "a.dbc"\nsha256 = "{SHA}"\n[signal]\nmessage = "M"').reason == "mapping_value"
    assert refused("dbc = 1").reason == "mapping_value"
    assert refused("").reason == "mapping_value"
    assert refused("a = " + "[" * 100_000).reason == "mapping_syntax"
    assert refused("#" * (SIZE_BYTES_MAX + 1)).reason == "mapping_too_large"
    with pytest.raises(MappingError) as refusal:
        load_mapping(b"\xff", SHA, UNITS)
    assert refusal.value.reason == "mapping_syntax"


def test_the_refusal_names_the_row() -> None:
    """Number and name, so that an editor's search finds it."""
    assert "signal 2 (Motion.Angel)" in str(refused(GOOD.replace('signal = "Angle"', 'signal = "Angel"')))


def dbc_of(file: Path) -> Path:
    name = tomllib.loads(file.read_text())["dbc"]["name"]
    ours = CHECKOUT / "dbc" / name
    return ours if ours.exists() else Path(shared_data(), "dbc", name)


def specification() -> dict[str, dict[str, Any]]:
    leaves: dict[str, dict[str, Any]] = {}

    def walk(children: dict[str, Any], prefix: str) -> None:
        for name, node in children.items():
            if "children" in node:
                walk(node["children"], f"{prefix}{name}.")
            else:
                leaves[prefix + name] = node

    walk(json.loads((shared_data() / "vss" / "vss_release_6.0.json").read_text()), "")
    real_part("vehicle signal specification", "6.0")
    return leaves


def test_there_are_mapping_files() -> None:
    """The tests below would pass on an empty folder."""
    assert len(FILES) == 7


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_path_and_unit_is_the_specifications(file: Path) -> None:
    """And every message and signal the DBC's, by the hash that the file names."""
    dbc = dbc_of(file)
    database = cantools.database.load_file(dbc, strict=False)
    assert isinstance(database, cantools.database.Database)
    signals = {(message.name, signal.name): signal for message in database.messages for signal in message.signals}
    units = {key: signal.unit or "" for key, signal in signals.items()}
    mapping = load_mapping(file.read_bytes(), hashlib.sha256(dbc.read_bytes()).hexdigest(), units, file=file.name)
    leaves = specification()
    for row in mapping.rows:
        if row.path is None:
            continue
        leaf = leaves[row.path]
        assert row.unit == leaf.get("unit", ""), row.path
        allowed = leaf.get("allowed")
        if allowed:
            labels = {str(label) for label in (signals[row.message, row.signal].choices or {}).values()}
            assert labels and labels <= set(allowed), row.path


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_places_and_names_of_people_are_never_called_harmless(file: Path) -> None:
    """Location is personal at least, identity and coordinates are special."""
    for row in tomllib.loads(file.read_text())["signal"]:
        if row["category"] == "location":
            assert row["sensitivity"] != "low"
        if row["category"] == "identity" or row.get("path", "").endswith(("Latitude", "Longitude")):
            assert row["sensitivity"] == "special"


def test_every_file_is_named_in_its_document() -> None:
    """docs/mapping.md lists the files that stand in the folder, and every key that a row may have."""
    text = (CHECKOUT / "docs" / "mapping.md").read_text()
    for file in FILES:
        assert f"`{file.name}`" in text
    for key in (
        "message",
        "signal",
        "path",
        "unit",
        "category",
        "sensitivity",
        "bus",
        "counter",
        "checksum",
        "not_available",
    ):
        assert f"`{key}`" in text


def test_toyotas_checksum_holds_on_a_real_drive() -> None:
    """The mapping names an algorithm for SPEED and GAS_PEDAL; the car's own frames are the proof."""
    payloads: dict[int, list[bytes]] = {0xB4: [], 0x2C1: []}
    with gzip.open(Path(shared_data(), "captures", "toyota_rav4_2017.log.gz"), "rt") as file:
        for line in file:
            _, bus, frame = line.split()[:3]
            identifier, data = frame.split("#")
            if bus == "can0" and int(identifier, 16) in payloads:
                payloads[int(identifier, 16)].append(bytes.fromhex(data))
    for can_id, found in payloads.items():
        assert len(found) > 1000
        payload = np.frombuffer(b"".join(found), np.uint8).reshape(-1, 8)
        ids, length = np.full(len(found), can_id, np.uint32), np.full(len(found), 8, np.uint8)
        assert (ALGORITHMS["toyota"](ids, payload, length) == payload[:, 7]).all()
