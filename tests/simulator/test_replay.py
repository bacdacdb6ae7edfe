"""Reading captures for replay, compared with the text of the file itself."""

from __future__ import annotations

import gc
import gzip
from pathlib import Path

import pytest

from carnet.errors import CaptureError, ConfigError
from carnet_simulator.replay import read_capture
from tests.conftest import shared_data

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
        assert captured.frame is not None and captured.frame[8 : 8 + captured.frame[4]].hex() == data
        flag = 0x8000_0000 if len(identifier) == 8 else 0
        assert int.from_bytes(captured.frame[:4], "little") == int(identifier, 16) | flag


def test_the_same_drive_as_mdf_4_gives_the_same_frames() -> None:
    """The tractor's capture exists in both forms."""
    folder = Path(shared_data(), "captures")
    text, measurement = ([*read_capture(folder / f"tractor_j1939{suffix}")] for suffix in (".log.gz", ".MF4"))
    assert len(text) == len(measurement) == 1815
    assert sorted(frame.frame or b"" for frame in text) == sorted(frame.frame or b"" for frame in measurement)


def test_error_and_remote_frames_are_named_but_not_sent(tmp_path: Path) -> None:
    """A replay is of data."""
    file = tmp_path / "a.log"
    file.write_text(
        "(1.0) can0 123#R\n(2.0) can0 20000080#0000000000000000\n(3.0) can1 123##30102\n(4.0) 5 00000123#\n"
    )
    frames = list(read_capture(file))
    assert [captured.frame is None for captured in frames] == [True, True, False, False]
    assert [captured.bus for captured in frames] == ["can0", "can0", "can1", "can5"]
    assert [len(captured.frame or b"") for captured in frames] == [0, 0, 72, 16]


# asammdf leaves a file open that it refuses; collecting it here keeps its warning out of the next test.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.log", None, "capture_missing"),
        ("a.xyz", b"", "capture_format"),
        ("a.blf", b"", "capture_format"),
        ("a.blf", b"LOGG" + b"\0" * 200, "capture_format"),
        ("a.mf4", b"not a measurement", "capture_format"),
        ("a.log.gz", b"not compressed", "capture_broken"),
        ("a.log", b"(1.0) can0 123#00\nnonsense\n", "capture_broken"),
        ("a.log", b"\xff\xfe\x00", "capture_broken"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    """It names the file; the frames before the break have been given."""
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError if content is None else CaptureError) as refusal:
        list(read_capture(file))
    assert refusal.value.reason == reason and str(file) in str(refusal.value)
    del refusal
    gc.collect()
