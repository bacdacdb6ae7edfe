"""Captures: every kind of file gives the same frames, broken parts are named and the rest survives."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest

from carnet.errors import CaptureError
from carnet_agent.captures import capture as captures
from carnet_agent.captures import mf4
from carnet_agent.captures.blf import FlatBlf
from carnet_agent.captures.capture import Capture, nanoseconds
from carnet_agent.frames import BRS, ESI, EXTENDED, FD, Frames

FOUND = Path(__file__).parents[1] / "fuzz" / "found"

LINES = b"""(1622547830.084000) can1 0CF00300#FFFE00FFFFFF00FF
(1622547830.084600) can1 123#
 (1622547831.000000001) vcan0 7FF#0a0B R
(0.5) can1 123##3112233445566778899AABBCC
(1622547832.000000) can1 1FFFFFFF#01
"""


def read(path: Path) -> tuple[Capture, Frames]:
    """The whole capture as one block."""
    capture = Capture(path)
    return capture, Frames.concat([block.frames for block in capture.blocks()])


def write(path: Path, data: bytes) -> Path:
    """A file with this content, compressed if its name says so."""
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.log", "a.LOG", "a.log.gz"])
def test_candump_lines_become_frames_without_losing_a_digit(name: str, tmp_path: Path) -> None:
    """Identifier, length, flags, payload and nanoseconds."""
    capture, frames = read(write(tmp_path / name, LINES))
    assert capture.buses == ["can1", "vcan0"] and capture.counts == {"frames": 5}
    assert frames.can_id.tolist() == [0x0CF00300, 0x123, 0x7FF, 0x123, 0x1FFFFFFF]
    assert frames.flags.tolist() == [EXTENDED, 0, 0, FD | BRS | ESI, EXTENDED]
    assert frames.length.tolist() == [8, 0, 2, 12, 1] and frames.width == 64
    assert frames.payload[3, :13].tolist() == [
        0x11,
        0x22,
        0x33,
        0x44,
        0x55,
        0x66,
        0x77,
        0x88,
        0x99,
        0xAA,
        0xBB,
        0xCC,
        0,
    ]
    assert frames.time_ns.tolist()[2:4] == [1622547831_000000001, 500_000_000]
    assert frames.bus.tolist() == [0, 0, 1, 0, 0]


def test_time_stamps_keep_their_number_of_digits(tmp_path: Path) -> None:
    """So that they can be written as they were."""
    (block,) = Capture(write(tmp_path / "a.log", LINES)).blocks()
    assert block.digits.tolist() == [6, 6, 9, 1, 6]


BROKEN = [
    (b"(1.0) can0 123#0", "malformed_line"),
    (b"(1.0) can0 123#0G", "malformed_line"),
    (b"1.0 can0 123#00", "malformed_line"),
    (b"(1) can0 123#00", "malformed_line"),
    (b"(1.0) can0 FFF#00", "identifier_out_of_range"),
    (b"(1.0) can0 3FFFFFFF#00", "error_frame"),
    (b"(1.0) can0 40000000#00", "identifier_out_of_range"),
    (b"(1.0) can0 123#" + b"00" * 9, "data_too_long"),
    (b"(1.0) can0 123##1" + b"00" * 65, "data_too_long"),
    (b"(1.0) can0 20000004#0004000000000000", "error_frame"),
    (b"(1.0) can0 123#R8", "remote_frame"),
    (b"(99999999999.0) can0 123#00", "malformed_line"),
    (b"(9999999999.0) can0 123#00", "time_out_of_range"),
    (b"\xff\xfe\x00", "malformed_line"),
]


@pytest.mark.parametrize("line, reason", BROKEN, ids=lambda value: str(value)[:40])
def test_a_line_that_is_no_data_frame_is_counted_and_the_others_survive(
    line: bytes, reason: str, tmp_path: Path
) -> None:
    """Broken ones with file and line, error and remote frames by number only."""
    capture, frames = read(write(tmp_path / "a.log", LINES + b"\n" + line + b"\r\n" + LINES))
    assert len(frames) == 10 and capture.counts == {"frames": 10, reason: 1}
    losses = [str(loss) for loss in capture.losses]
    assert losses == ([] if "_frame" in reason else [f"a.log:7: {reason.replace('_', ' ')}"])


def test_a_broken_line_far_into_a_file_is_named_by_its_number(tmp_path: Path) -> None:
    """Behind the first block of frames and behind the first chunk."""
    lines = [b"(1.%06d) can0 1234#" % number for number in range(20_000)]
    lines[5000] = lines[12_000] = b"broken"
    capture, frames = read(write(tmp_path / "a.log", b"\n".join(lines)))
    assert [loss.line for loss in capture.losses] == [5001, 12_001]
    # More than three digits are a 29-bit identifier, as for python-can.
    assert len(frames) == 19_998 and (frames.flags == EXTENDED).all()


def test_a_cut_compressed_file_gives_what_came_before_the_cut(tmp_path: Path) -> None:
    """Frames up to the last whole block, one loss."""
    data = gzip.compress(b"".join(b"(%d.000001) can0 123#%08X\n" % (i, i * 2654435761 % 2**32) for i in range(60_000)))
    (tmp_path / "a.log.gz").write_bytes(data[: len(data) * 2 // 3])
    capture, frames = read(tmp_path / "a.log.gz")
    assert 10_000 < len(frames) < 60_000 and (np.diff(frames.time_ns) == 1_000_000_000).all()
    assert [loss.reason for loss in capture.losses] == ["compressed_data_cut"]


def test_blocks_are_small_whatever_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded memory: at most FRAMES_MAX frames, lines cut by chunks are whole, also without lines."""
    monkeypatch.setattr(captures, "CHUNK_BYTES", 1000)
    lines = b"".join(b"(1.%06d) can0 123#%02X\n" % (i, i % 256) for i in range(9000))
    sizes, values = [], []
    for block in Capture(write(tmp_path / "a.log", lines)).blocks():
        sizes.append(len(block.frames))
        values += block.frames.payload[:, 0].tolist()
    assert values == [i % 256 for i in range(9000)] and max(sizes) <= captures.FRAMES_MAX
    capture, frames = read(write(tmp_path / "b.log", b"x" * 100_000))
    assert len(frames) == 0 and capture.counts["malformed_line"] > 10


def messages() -> list[can.Message]:
    """Data frames of every kind, with an error and a remote frame between them."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(300):
        extended = bool(number % 3)
        found.append(
            can.Message(
                timestamp=1622547830 + number / 8,
                arbitration_id=int(rng.integers(0, 2**29 if extended else 2**11)),
                is_extended_id=extended,
                data=rng.bytes(number % 9),
                channel=number % 2,
            )
        )
    found.insert(7, can.Message(timestamp=1622547831, is_remote_frame=True, arbitration_id=1, dlc=2, channel=0))
    return found


@pytest.mark.parametrize("suffix", [".log", ".asc", ".blf", ".csv", ".trc", ".mf4", ".asc.gz", ".blf.gz", ".csv.gz"])
def test_every_kind_of_file_gives_the_frames_that_were_written(suffix: str, tmp_path: Path) -> None:
    """Identifiers, lengths and data are the same; remote frames are counted."""
    # python-can writes no remote frames into these two.
    sent = [message for message in messages() if not (suffix in (".mf4", ".trc") and message.is_remote_frame)]
    path = tmp_path / f"a{suffix}"
    plain = path.with_suffix("") if suffix.endswith(".gz") else path
    with can.Logger(plain) as logger:
        for message in sent:
            logger(message)
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes()))
    capture, frames = read(path)
    data = [message for message in sent if not message.is_remote_frame]
    assert frames.can_id.tolist() == [message.arbitration_id for message in data]
    assert ((frames.flags & EXTENDED) != 0).tolist() == [message.is_extended_id for message in data]
    assert frames.length.tolist() == [len(message.data) for message in data]
    for row, message in zip(frames.payload, data, strict=True):
        assert bytes(row[: len(message.data)]) == bytes(message.data) and not row[len(message.data) :].any()
    assert np.allclose(np.diff(frames.time_ns), 125_000_000, atol=1_000_000)
    assert capture.counts["remote_frame"] == len(sent) - len(data)


@pytest.mark.parametrize(
    "suffix, spoil",
    [(".csv", "x,y\n"), (".csv", "7,y\n"), (".trc", "     9 oops\n"), (".trc", "   9  1.0 XX 1  5 Rx - 1 0\n")],
)
def test_a_broken_line_of_a_text_file_costs_only_itself(suffix: str, spoil: str, tmp_path: Path) -> None:
    """python-can's reader gives up at it; it is started again behind it, with the file's header."""
    path = tmp_path / f"a{suffix}"
    with can.Logger(path) as logger:
        for message in messages():
            if not message.is_remote_frame:
                logger(message)
    lines = path.read_text().splitlines(keepends=True)
    at = len(lines) - 100
    path.write_text("".join([*lines[:at], spoil, *lines[at:]]))
    capture, frames = read(path)
    assert len(frames) == 300 and [(loss.line, loss.reason) for loss in capture.losses] == [(at + 1, "malformed_line")]


def test_a_cut_binary_file_gives_what_came_before_the_cut(tmp_path: Path) -> None:
    """A BLF file that ends in the middle."""
    path = tmp_path / "a.blf"
    with can.Logger(path, max_container_size=2000) as logger:
        for message in messages() * 4:
            logger(message)
    path.write_bytes(path.read_bytes()[:-700])
    _, frames = read(path)
    assert 300 < len(frames) < 1200


@pytest.mark.parametrize(
    "name, data",
    [("a.xyz", b""), ("a", b""), ("a.gz", b""), ("a.blf", b"no"), ("a.mf4", b"no"), ("a.blf", b"LOGG")],
)
def test_a_file_of_no_known_kind_is_refused_in_one_sentence(name: str, data: bytes, tmp_path: Path) -> None:
    """CaptureError with the file's name."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CaptureError, match=name.replace(".", r"\.")):
        read(tmp_path / name)


def test_bus_numbers_follow_the_names_given_first(tmp_path: Path) -> None:
    """So that they mean the plan's buses; new names are appended."""
    capture = Capture(write(tmp_path / "a.log", LINES), ["can7", "vcan0"])
    (block,) = capture.blocks()
    assert capture.buses == ["can7", "vcan0", "can1"] and block.frames.bus.tolist() == [2, 2, 1, 2, 2]
    assert capture.buses_seen == ["vcan0", "can1"]


@pytest.mark.parametrize("seconds", [0.0, 1.5, 1622547830.0846, 1725694999.68745, 0.1 + 0.2, 46408.58493, 1e-7, 3.0])
def test_a_float_time_stamp_reads_back_as_the_same_float(seconds: float) -> None:
    """Nanoseconds and digits hold the reader's float, as far as nanoseconds can."""
    time_ns, digits = nanoseconds(seconds)
    text = f"{time_ns // 10**9}.{time_ns % 10**9:09d}"[: -(9 - digits) or None]
    assert abs(float(text) - seconds) < 1e-9 and (float(text) == seconds or digits == 9)


def test_the_reader_of_an_empty_file_yields_nothing(tmp_path: Path) -> None:
    """No frames, no error."""
    for name in ("a.log", "a.log.gz", "a.csv"):
        found: Any = read(write(tmp_path / name, b""))
        assert len(found[1]) == 0 and not found[0].losses


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"arbitration_id": 0x800, "is_extended_id": False}, "identifier_out_of_range"),
        ({"arbitration_id": 0x20000000}, "identifier_out_of_range"),
        ({"data": bytes(9)}, "data_too_long"),
        ({"timestamp": 9e9}, "time_out_of_range"),
        ({"timestamp": float("nan")}, "time_out_of_range"),
        ({"timestamp": float("inf")}, "time_out_of_range"),
    ],
)
def test_a_frame_that_no_bus_has_is_counted_and_the_others_survive(
    changes: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file says it, and python-can's readers hand it on."""
    sent = [
        can.Message(timestamp=1, data=b"\1"),
        can.Message(**{"timestamp": 1.0, **changes}),
        can.Message(timestamp=2),
    ]
    monkeypatch.setattr(captures, "_reader_class", lambda _suffix: lambda _lines: iter(sent))
    capture, frames = read(write(tmp_path / "a.csv", b"x\n"))
    assert len(frames) == 2 and capture.counts[reason] == 1
    assert [loss.reason for loss in capture.losses if loss.line == 0] == [reason]


@pytest.mark.parametrize("size", [100, 101, 1000, 5000])
def test_a_blf_file_is_read_as_python_can_reads_it(size: int, tmp_path: Path) -> None:
    """Objects that begin in one container and end in the next ones too."""
    path = tmp_path / "a.blf"
    with can.Logger(path, max_container_size=size) as logger:
        for message in messages():
            logger(message)
        logger.log_event("words of a person", 1622547831)  # type: ignore[attr-defined]
        logger(can.Message(timestamp=1622547900, data=bytes(64), is_fd=True, bitrate_switch=True))
    with path.open("rb") as stream:
        ours = list(can.BLFReader(FlatBlf(stream)))  # type: ignore[arg-type]
    theirs = list(can.BLFReader(path))
    assert len(ours) == len(theirs) == 302
    assert all(one.equals(other, timestamp_delta=None) for one, other in zip(ours, theirs, strict=True))
    assert [one.timestamp for one in ours] == [other.timestamp for other in theirs]


def test_an_mf4_file_that_kills_its_reader_is_refused(tmp_path: Path) -> None:
    """asammdf ends by a segmentation fault, in a process of its own."""
    killer = FOUND / "mf4-asammdf-segmentation-fault"
    with pytest.raises(CaptureError, match=r"a\.mf4: is not a \.mf4 file: asammdf crashes on it"):
        read(write(tmp_path / "a.mf4", killer.read_bytes()))


def test_an_mf4_reader_that_says_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mf4"
    with can.Logger(path) as logger:
        logger(can.Message(timestamp=1, data=b"\1"))
    monkeypatch.setattr(mf4, "SILENCE_S_MAX", 0.0)
    with pytest.raises(CaptureError, match="asammdf does not get on with it"):
        read(path)


def test_whoever_stops_reading_an_mf4_file_leaves_no_process_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.mf4"
    with can.Logger(path) as logger:
        for number in range(20_000):
            logger(can.Message(timestamp=number, data=b"\1"))
    before = children()
    with Capture(path) as capture:
        blocks = capture.blocks()
        assert len(next(blocks).frames) == captures.FRAMES_MAX
        assert len(children() - before) == 1
        blocks.close()  # type: ignore[attr-defined]
        assert children() <= before


def children() -> set[str]:
    """Processes of this one: a server of other tests may be among them."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("name", ["a.mf4.gz", "a.blf.gz"])
def test_a_file_that_only_looks_compressed_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no")
    with pytest.raises(CaptureError, match=name.replace(".", r"\.")):
        read(tmp_path / name)


def test_a_compressed_mf4_file_is_read_from_the_disk(tmp_path: Path) -> None:
    """Cut, it is refused, and nothing is left on the disk; one of nothing but a word is no MF4 file."""
    path = tmp_path / "a.mf4"
    with can.Logger(path) as logger:
        for message in messages():
            if not message.is_remote_frame:
                logger(message)
    packed = gzip.compress(path.read_bytes())
    (tmp_path / "b.mf4.gz").write_bytes(packed)
    assert len(read(tmp_path / "b.mf4.gz")[1]) == 300
    (tmp_path / "c.mf4.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(CaptureError, match="is not a"):
        read(tmp_path / "c.mf4.gz")
    (tmp_path / "d.mf4.gz").write_bytes(gzip.compress(b"MDF     " * 1_000_000))
    with pytest.raises(CaptureError, match="more than 200 times"):
        read(tmp_path / "d.mf4.gz")
