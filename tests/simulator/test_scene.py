"""What the demonstration knows and shows: signals, captures, words, and the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.errors import CaptureError, ConfigError, MappingError
from carnet.narrowing import Block, BlockReason
from carnet.signals import Category, Sensitivity
from carnet_cloud.catalogue import Catalogue, read_entries
from carnet_simulator.demo import captures, scene
from carnet_simulator.demo.catalogue import Bus, Name, cloud_catalogue, describe
from carnet_simulator.demo.words import asked_and_refused, counted, how, refused, value

MAPPING = """
[dbc]
name = "car.dbc"
sha256 = "00"
[[signal]]
message = "A"
signal = "Speed"
path = "Vehicle.Speed"
unit = "km/h"
category = "driving"
sensitivity = "personal"
[[signal]]
message = "A"
signal = "Wheel"
bus = "can1"
category = "maintenance"
sensitivity = "low"
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "car.map.toml"
    path.write_text(MAPPING)
    return path


def names(bus: str = "can0", dbc: str = "car") -> list[Name]:
    return [Name(bus, dbc, "A", signal, unit) for signal, unit in (("Speed", "kph"), ("Wheel", ""), ("X y", '"'))]


def test_a_row_names_a_signal_and_what_has_none_is_private_and_unmapped(mapping: Path) -> None:
    speed, wheel, other = describe(names(), [mapping])
    assert (speed.path, speed.unit, speed.kind.category) == ("Vehicle.Speed", "km/h", Category.DRIVING)
    assert (wheel.path, wheel.kind.category) == ("Vehicle.Private.can0.car.A.Wheel", Category.UNMAPPED)
    assert (other.path, other.kind.sensitivity) == ("Vehicle.Private.can0.car.A.X_y", Sensitivity.SPECIAL)


def test_a_row_for_one_bus_holds_there_alone_and_for_its_dbc_alone(mapping: Path) -> None:
    assert describe(names("can1"), [mapping])[1].kind.category is Category.MAINTENANCE
    assert describe(names(dbc="other"), [mapping])[0].path == "Vehicle.Private.can0.other.A.Speed"


def test_the_cloud_reads_the_catalogue_that_is_written_for_it(mapping: Path) -> None:
    signals = describe(names(), [mapping])
    found = Catalogue(read_entries(cloud_catalogue(signals).encode(), "catalogue"))
    for signal in signals:
        entry = found.get(signal.path)
        assert entry is not None
        assert (entry.unit, entry.category) == (signal.unit, signal.kind.category)


def test_a_mapping_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    for text in ("", "[dbc", "dbc = 3"):
        (tmp_path / "x.toml").write_text(text)
        with pytest.raises(MappingError):
            describe(names(), [tmp_path / "x.toml"])
    with pytest.raises(MappingError):
        describe(names(), [tmp_path / "nowhere"])


def test_dbcs_and_mappings_are_given_to_the_buses_of_a_capture(tmp_path: Path, mapping: Path) -> None:
    log = tmp_path / "drive.log"
    log.write_text("(0.1) can0 123#11\n(0.2) can1 123#11\n")
    buses = captures.buses_of(log, [f"can1={tmp_path / 'car.dbc'}"], [mapping], "id")
    assert buses == (Bus("can1", (tmp_path / "car.dbc",), (mapping,), "id"),)
    assert [bus.name for bus in captures.buses_of(log, ["car.dbc"], [], "id")] == ["can0", "can1"]
    with pytest.raises(ConfigError) as refusal:
        captures.buses_of(log, ["can7=car.dbc"], [], "id")
    assert refusal.value.reason == "bus_unknown"
    with pytest.raises(ConfigError):
        captures.buses_of(log, [], [], "id")
    with pytest.raises(MappingError) as unused:
        captures.buses_of(log, ["other.dbc"], [mapping], "id")
    assert unused.value.reason == "mapping_unused"


SEEN_DBC = """VERSION ""
BU_: X
BO_ 256 Early: 8 X
 SG_ One : 0|8@1+ (1,0) [0|0] "" X
BO_ 512 Late: 8 X
 SG_ Two : 0|8@1+ (1,0) [0|0] "" X
"""


def seen_in(folder: Path, lines: list[str]) -> list[str]:
    (folder / "car.dbc").write_text(SEEN_DBC)
    (folder / "drive.log").write_text("\n".join(lines) + "\n")
    bus = Bus("can0", (folder / "car.dbc",), ())
    return [name.signal for name in captures.signals_in(folder / "drive.log", [bus])]


def test_what_is_offered_of_a_capture_comes_in_its_first_minute(tmp_path: Path) -> None:
    """However fast this machine reads it: a demonstration of what comes later would show nothing for a minute."""
    early = [f"({1000 + 10 * n}.0) can0 100#01" for n in range(7)]
    late = [f"({1067 + n / 10:.1f}) can0 200#01" for n in range(500)]
    assert seen_in(tmp_path, early + late) == ["One"]


def test_a_capture_that_begins_with_a_silence_is_offered_by_what_breaks_it(tmp_path: Path) -> None:
    foreign = [f"({1000 + n}.0) can0 300#01" for n in range(90)]
    assert seen_in(tmp_path, [*foreign, "(1090.0) can0 200#01", "(1090.5) can0 100#01"]) == ["Two"]


def test_a_capture_offers_named_signals_if_there_are_any(mapping: Path) -> None:
    def offered(mappings: tuple[Path, ...]) -> list[str]:
        bus = Bus("can0", (Path("car.dbc"),), mappings)
        made = scene.capture(Path("x.log"), (bus,), names(), "1", "ten_aaaaaaaaaaaaaaaa", 1)
        return [item["path"] for item in made.parties[0].items()]

    assert offered((mapping,)) == ["Vehicle.Speed"]
    assert len(offered(())) == 3
    with pytest.raises(CaptureError) as refusal:
        scene.capture(Path("x.log"), (), [], "1", "ten_aaaaaaaaaaaaaaaa", 1)
    assert refusal.value.reason == "capture_empty"


def test_transforms_in_words() -> None:
    assert how({}) == "every reading"
    assert how({"interval_ms": 5000, "round": "5"}) == "every 5 s, rounded to 5"
    assert how({"aggregate": {"window_ms": 5000, "fields": ["min", "max"]}}) == "min/max of 5 s"


def test_what_is_refused_is_told_by_reason_with_all_counted() -> None:
    blocks = [Block("rec", f"Vehicle.X{n}", BlockReason.OFFER) for n in range(40)]
    blocks += [Block("rec", "Vehicle.Y", BlockReason.CEILING)]
    first, second = refused(blocks)
    assert first.split()[0] == "40" and second.split()[0] == "1"


def test_one_is_one() -> None:
    assert [counted(number, "event") for number in (0, 1, 2)] == ["0 events", "1 event", "2 events"]


def test_of_what_a_recipient_asked_for_it_is_told_who_refuses_it() -> None:
    """What it never asked for is no refusal."""
    blocks = [Block("rec", "Vehicle.A", BlockReason.CEILING), Block("rec", "Vehicle.B", BlockReason.OWNER)]
    blocks += [Block("rec", "Vehicle.C", BlockReason.OFFER), Block("rec", "Vehicle.D", BlockReason.DRIVER)]
    asked = ["Vehicle.A", "Vehicle.B", "Vehicle.C"]
    assert asked_and_refused(blocks, asked) == {
        "Vehicle.A": "the ceiling set in the car",
        "Vehicle.B": "the owner said no",
    }


def test_a_label_that_a_terminal_would_obey_is_shown_harmless() -> None:
    assert value("\x1b[2Jgone", "\a") == "?[2Jgone ?"
