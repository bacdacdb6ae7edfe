"""Reading captures for replay, compared with the text of the file itself."""

from __future__ import annotations

import gzip
import re
import threading
from pathlib import Path

import pytest

from carnet.errors import CaptureError, ConfigError
from carnet_simulator.replay import read_capture
from tests.conftest import CHECKOUT, shared_data
from tests.fuzz.bombs import blf, deflated

FOUND = CHECKOUT / "tests" / "fuzz" / "found"
SIMULATOR = CHECKOUT / "simulator" / "carnet_simulator"
READERS = {"asc": ".asc", "blf": ".blf", "candump": ".log", "gzipped": ".csv.gz", "mf4": ".mf4", "trc": ".trc"}
"""A fuzzer's target -> what its captures are called."""

CAPTURES = ["skoda_obd2_gnss", "toyota_ft86_drive", "toyota_rav4_2017", "tractor_j1939"]


def lines_of(name: str, most: int) -> list[tuple[str, float, str, str]]:
    """(bus, time, identifier, data) of the first lines of a candump file, by cutting text."""
    found = []
    with gzip.open(Path(shared_data(), "captures", f"{name}.log.gz"), "rt") as file:
        for line, _ in zip(file, range(most), strict=False):
            time, bus, frame = line.split()[:3]
            identifier, data = frame.split("#")
            found.append((bus, float(time.strip("()")), identifier, data.lower()))
    return found


@pytest.mark.parametrize("name", CAPTURES)
def test_every_frame_of_a_capture_comes_in_its_order(name: str) -> None:
    """Bus, time, identifier and data as they stand in the file."""
    expected = lines_of(name, 3000)
    frames = read_capture(Path(shared_data(), "captures", f"{name}.log.gz"))
    for (bus, time_s, identifier, data), captured in zip(expected, frames, strict=False):
        assert captured.bus == bus and captured.time_ns == pytest.approx(time_s * 1e9, abs=1000)
        assert captured.frame[8 : 8 + captured.frame[4]].hex() == data
        flag = 0x8000_0000 if len(identifier) == 8 else 0
        assert int.from_bytes(captured.frame[:4], "little") == int(identifier, 16) | flag


def test_the_same_drive_as_mdf_4_gives_the_same_frames() -> None:
    """The tractor's capture exists in both forms."""
    folder = Path(shared_data(), "captures")
    text, measurement = ([*read_capture(folder / f"tractor_j1939{suffix}")] for suffix in (".log.gz", ".MF4"))
    assert len(text) == len(measurement) == 1815
    assert sorted(frame.frame for frame in text) == sorted(frame.frame for frame in measurement)


def test_error_and_remote_frames_are_counted_and_not_sent(tmp_path: Path) -> None:
    """A replay is of data."""
    file = tmp_path / "a.log"
    file.write_text(
        "(1.0) can0 123#R\n(2.0) can0 20000080#0000000000000000\n(3.0) can1 123##30102\n(4.0) 5 00000123#\n"
    )
    said: list[str] = []
    frames = list(read_capture(file, said.append))
    assert [captured.bus for captured in frames] == ["can1", "can5"]
    assert [captured.time_ns for captured in frames] == [3_000_000_000, 4_000_000_000]
    assert [len(captured.frame) for captured in frames] == [72, 16]
    assert said == ["left out: error frame 1, remote frame 1"]


def test_a_broken_line_is_named_and_passed_over(tmp_path: Path) -> None:
    """As ``carnet-agent decode`` does it: the frames before and behind it are good."""
    file = tmp_path / "a.log"
    file.write_text("(1.0) can0 123#00\nnonsense\n(2.0) can0 123#01\n")
    said: list[str] = []
    assert [frame.frame[8] for frame in read_capture(file, said.append)] == [0, 1]
    assert said == ["not used: a.log:2: malformed line", "left out: malformed line 1"]


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.log", None, "capture_missing"),
        ("a.xyz", b"", "capture_refused"),
        ("a.blf", b"", "capture_refused"),
        ("a.blf", b"LOGG" + b"\0" * 200, "capture_refused"),
        ("a.mf4", b"not a measurement", "capture_refused"),
        ("a.log.gz", b"not compressed", "capture_refused"),
        ("a.log", b"\xff\xfe\x00", "capture_refused"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    """It names the file."""
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError if content is None else CaptureError) as refusal:
        list(read_capture(file))
    assert refusal.value.reason == reason and name in str(refusal.value) and "\n" not in str(refusal.value)


HOSTILE = {name.name: name.read_bytes() for name in FOUND.iterdir() if name.name.partition("-")[0] in READERS}
"""Captures that broke a reader once: a loop without end, a segmentation fault, times and identifiers beyond all."""


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_capture_ends_and_gives_frames_that_a_bus_can_have(tmp_path: Path, name: str) -> None:
    """The seeds of the fuzzers, which the agent's reader was mended for: the replay has no reader besides it."""
    file = tmp_path / f"a{READERS[name.partition('-')[0]]}"
    file.write_bytes(HOSTILE[name])
    said: list[str] = []
    try:
        assert all(len(frame.frame) in (16, 72) for frame in read_capture(file, said.append))
    except CaptureError as refusal:
        said.append(str(refusal))
    assert any(file.name in sentence for sentence in said)


def test_a_container_that_inflates_without_end_costs_its_reader_a_bounded_time(tmp_path: Path) -> None:
    """64 MB of zeros in a BLF file of 64 kB: no object is in them."""
    file = tmp_path / "a.blf"
    file.write_bytes(blf(deflated(64 << 20, b"\0")))
    with pytest.raises(CaptureError, match=file.name):
        list(read_capture(file))


def test_who_stops_reading_ends_the_reader(tmp_path: Path) -> None:
    """However much of the file is left."""
    file = tmp_path / "a.log"
    file.write_text("(1.0) can0 123#00\n" * 200_000)
    before = _children()
    frames = read_capture(file)
    next(frames)
    children = _children() - before
    frames.close()  # type: ignore[attr-defined]
    assert len(children) == 1 and _children() <= before


def _children() -> set[str]:
    """The processes that this one has started and that are still there: a server of other tests may be among them."""
    return set(Path("/proc/self/task", str(threading.get_native_id()), "children").read_text().split())


def test_the_simulator_has_no_reader_of_its_own() -> None:
    """python-can's readers believe what a file says of itself; only the agent's are bounded."""
    text = "".join(file.read_text(encoding="utf-8") for file in SIMULATOR.rglob("*.py"))
    assert set(re.findall(r"\bcan\.\w*Reader\b", text)) == {"can.CanutilsLogReader"}
