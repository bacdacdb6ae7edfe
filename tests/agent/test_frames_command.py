"""``carnet-agent frames``: what it writes reads back as the same frames, whatever the capture's format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from carnet.programs import UNREAD
from carnet_agent.__main__ import main
from carnet_agent.captures.capture import Block, Capture
from carnet_agent.frames import Frames
from tests.conftest import shared_data
from tests.fuzz.capturing import written

COLUMNS = ("can_id", "flags", "length", "payload", "time_ns")


def whole(path: Path) -> tuple[Frames, list[str]]:
    """All frames of a capture, and the bus of each."""
    with Capture(path) as capture:
        blocks: list[Block] = list(capture.blocks())
        (block,) = blocks
        return block.frames, [capture.buses[number] for number in block.frames.bus.tolist()]


@pytest.mark.parametrize("suffix", [".log", ".asc", ".blf", ".csv"])
def test_a_log_reads_back_as_the_same_frames(suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """CAN FD with its flags, 11 and 29 bits, no byte at all, and every digit of a time."""
    source, copy = tmp_path / f"source{suffix}", tmp_path / "copy.log"
    source.write_bytes(written(suffix))
    assert main(["frames", str(source)]) == 0
    copy.write_text(capfd.readouterr().out)
    frames, buses = whole(source)
    again, buses_again = whole(copy)
    assert len(frames) >= 3
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(frames, column), getattr(again, column), column)
    assert buses_again == [bus or "can0" for bus in buses]


def test_a_real_log_comes_out_as_it_is(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Byte for byte, with the digits that the file has."""
    import gzip

    lines = gzip.decompress((shared_data() / "captures" / "tractor_j1939.log.gz").read_bytes())
    (tmp_path / "a.log").write_bytes(lines)
    assert main(["frames", str(tmp_path / "a.log")]) == 0
    assert capfd.readouterr().out.encode() == lines


def test_what_is_left_out_is_said(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("(1.0) can0 123#R\n(2.0) can0 123#01\nnonsense\n")
    assert main(["frames", str(tmp_path / "a.log")]) == 0
    out, err = capfd.readouterr()
    assert out == "(2.0) can0 123#01\n"
    assert err.splitlines() == [
        "carnet-agent frames: not used: a.log:3: malformed line",
        "carnet-agent frames: left out: malformed line 1, remote frame 1",
    ]


def test_a_file_without_a_frame_is_refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("nothing\n")
    assert main(["frames", str(tmp_path / "a.log")]) == 1
    assert "there is no frame in it" in capfd.readouterr().err.splitlines()[-1]


def test_a_reader_that_has_seen_enough_is_told_nothing(tmp_path: Path) -> None:
    """``carnet-agent frames … | head``; the exit code is a shell's for a program that SIGPIPE ended."""
    (tmp_path / "a.log").write_text("(1.0) can0 123#00\n" * 100_000)
    words = [sys.executable, "-m", "carnet_agent", "frames", str(tmp_path / "a.log")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait(20) == UNREAD
