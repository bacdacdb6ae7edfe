"""``carnet-agent decode`` on real captures, against cantools and against the publisher's own values."""

from __future__ import annotations

import csv
import gzip
import importlib
import json
import logging
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

from carnet_agent.__main__ import main
from carnet_agent.captures.capture import SUFFIXES
from tests.agent.cantools_oracle import NaiveIsoTp, Oracle, Row, candump, python_can
from tests.conftest import shared_data
from tests.realparts import real_part

POWERTRAIN = "toyota_new_mc_pt_generated.dbc"
TOYOTA = {"can0": POWERTRAIN, "can128": POWERTRAIN, "can1": "toyota_adas.dbc"}
SKODA = {"can1": "OBD-v4.4.dbc", "can9": "canedge-internal-can9.dbc"}
TRACTOR = {"can1": "CSS-Electronics-SAE-J1939-DEMO.dbc"}
CASES = [
    ("toyota_rav4_2017.log.gz", TOYOTA, "id", 522_096),
    ("toyota_ft86_drive.log.gz", {"can0": "ft86_sample_can_spec.dbc"}, "id", 0),
    ("toyota_ft86_drive.log.gz", {"can0": "subaru_forester_2017_generated.dbc"}, "id", 0),
    ("skoda_obd2_gnss.log.gz", SKODA, "id", 234_558),
    ("skoda_obd2_gnss.MF4", SKODA, "id", 234_558),
    ("skoda_obd2_gnss.log.gz", SKODA, "isotp", 234_558),
    ("tractor_j1939.log.gz", TRACTOR, "pgn", 761),
    ("tractor_j1939.MF4", TRACTOR, "pgn", 761),
]


def decode(capture: Path, dbc: dict[str, str], out: Path, *options: str) -> int:
    """Run the command; returns its exit code."""
    files = [f"{bus}={shared_data() / 'dbc' / name}" for bus, name in dbc.items()]
    return main(["decode", str(capture), "--dbc", *files, "--out", str(out), *options])


def written(path: Path) -> Iterator[Row]:
    """The rows that our command wrote."""
    with path.open(newline="") as file:
        reader = csv.reader(file)
        assert ",".join(next(reader)) == "timestamp,bus,id,extended,message,signal,raw,value,label,unit"
        for row in reader:
            yield tuple(row)  # type: ignore[misc]


def differences(ours: Iterator[Row], oracle: Iterator[Row]) -> int:
    """Rows that differ, of the first thousand differences."""
    count = 0
    for left, right in zip_longest(ours, oracle):
        count += left != right
        if count >= 1000:
            break
    return count


def oracle_rows(name: str, dbc: dict[str, str], match: str, bug: str = "") -> Iterator[Row]:
    """The rows that cantools yields for this capture."""
    capture = shared_data() / "captures" / name
    oracle = Oracle({bus: shared_data() / "dbc" / file for bus, file in dbc.items()}, match, bug)
    frames = candump(capture) if name.endswith(".log.gz") else python_can(capture)
    return oracle.rows(frames, NaiveIsoTp("7E8") if match == "isotp" else None)


@pytest.mark.parametrize("name, dbc, match, readings", CASES, ids=lambda value: str(value)[:40])
def test_every_capture_decodes_row_for_row_as_cantools_does(
    name: str, dbc: dict[str, str], match: str, readings: int, tmp_path: Path
) -> None:
    """Every column of every row, in order: time stamp text, identifier, raw, value, label, unit."""
    out = tmp_path / "rows.csv"
    assert decode(shared_data() / "captures" / name, dbc, out, "--match", match) == 0
    assert differences(written(out), oracle_rows(name, dbc, match)) == 0
    with out.open() as file:
        rows = sum(1 for _ in file) - 1
    assert rows > 100 and rows == (readings or rows)
    real_part("captures", name.partition(".")[0])


@pytest.mark.parametrize("bug", ["sign", "scale"])
def test_an_oracle_broken_on_purpose_is_noticed(bug: str, tmp_path: Path) -> None:
    """The comparison above can fail: an oracle with a wrong sign or a lost digit differs in hundreds of rows."""
    dbc = {"can0": "toyota_new_mc_pt_generated.dbc"}
    capture = tmp_path / "cut.log.gz"
    with gzip.open(shared_data() / "captures" / "toyota_rav4_2017.log.gz") as file, gzip.open(capture, "wb") as cut:
        cut.writelines(line for line, _ in zip(file, range(5000), strict=False))
    out = tmp_path / "rows.csv"
    assert decode(capture, dbc, out) == 0
    files = {bus: shared_data() / "dbc" / file for bus, file in dbc.items()}
    assert differences(written(out), Oracle(files).rows(candump(capture))) == 0
    assert differences(written(out), Oracle(files, bug=bug).rows(candump(capture))) > 200


def test_toyota_wheel_speeds_equal_the_publishers_reference(tmp_path: Path) -> None:
    """The four wheel speeds are the reference's, which is in metres per second, to the last digits of float64."""
    out = tmp_path / "rows.csv"
    captures = shared_data() / "captures"
    assert decode(captures / "toyota_rav4_2017.log.gz", {"can0": TOYOTA["can0"]}, out) == 0
    ours: dict[str, list[float]] = {f"WHEEL_SPEED_{wheel}": [] for wheel in ("FL", "FR", "RL", "RR")}
    for row in written(out):
        if row[5] in ours:
            ours[row[5]].append(float(row[7]))
    reference: dict[str, list[float]] = {name: [] for name in ours}
    with gzip.open(captures / "toyota_rav4_2017.reference.csv.gz", "rt", newline="") as file:
        for record in csv.DictReader(file):
            name = record["quantity"].upper().removesuffix("_M_S")
            if name in reference:
                reference[name].append(float(record["value"]))
    for name, values in ours.items():
        assert len(values) == len(reference[name]) > 4000
        assert max(abs(a - b * 3.6) for a, b in zip(values, reference[name], strict=True)) < 1e-12


def test_a_multi_frame_reply_is_given_to_the_database_whole(tmp_path: Path) -> None:
    """The Skoda's one long reply is seen as one message instead of three broken frames."""
    transport = NaiveIsoTp("7E8")
    capture = shared_data() / "captures" / "skoda_obd2_gnss.log.gz"
    oracle = Oracle({"can1": shared_data() / "dbc" / SKODA["can1"]})
    list(oracle.rows(candump(capture), transport))
    assert transport.multi_frame == 1 and oracle.refused == 548


def test_json_lines_and_parquet_hold_the_rows_of_csv(tmp_path: Path) -> None:
    """Same rows, same numbers in all three formats."""
    parquet = importlib.import_module("pyarrow.parquet")
    capture = shared_data() / "captures" / "tractor_j1939.log.gz"
    for kind in ("csv", "jsonl", "parquet"):
        assert decode(capture, TRACTOR, tmp_path / kind, "--match", "pgn", "--format", kind) == 0
    rows = list(written(tmp_path / "csv"))
    objects = [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()]
    table = parquet.read_table(tmp_path / "parquet").to_pylist()
    assert len(rows) == len(objects) == len(table)
    for row, item, record in zip(rows, objects, table, strict=True):
        for found in (item, record):
            assert float(found["timestamp"]) == float(row[0])
            texts = [found[name] for name in ("bus", "id", "message", "signal", "label", "unit")]
            assert texts == [*row[1:3], *row[4:6], *row[8:]]
            assert [found["extended"], found["raw"], found["value"]] == [int(row[3]), float(row[6]), float(row[7])]


CAPTURE = b"""(1.000000) can0 123#0102
nonsense
(1.000001) can0 123#0R
(1.000002) can0 20000080#0000000000000000
(1.000003) can0 123#R
(1.000004) can0 123#03
(1.5) can1 00000123#0405
"""
DBC = """BO_ 291 M: 2 X
 SG_ a : 0|8@1+ (0.5,0) [0|0] "m,s" X
 SG_ b : 8|8@1- (1,0) [0|0] "" X

VAL_ 291 b 2 "two, x" ;
"""


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """A capture with broken lines and a database."""
    (tmp_path / "c.log").write_bytes(CAPTURE)
    (tmp_path / "d.dbc").write_text(DBC)
    return tmp_path / "c.log", tmp_path / "d.dbc"


NOISE = random.Random(3).randbytes(3000)
FRAMELESS = {"nothing": b"", "text": b"hello world\n", "a table": b"time,speed\n1,50\n", "noise": NOISE}


@pytest.mark.parametrize("content", FRAMELESS)
@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_a_capture_without_a_frame_is_refused_and_leaves_no_file(
    suffix: str,
    content: str,
    small: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A table of nothing would look like a drive without readings; and nothing of its content is shown."""
    logging.getLogger("can").setLevel(logging.NOTSET)
    capture = tmp_path / f"c{suffix}"
    capture.write_bytes(FRAMELESS[content])
    assert main(["decode", str(capture), "--dbc", str(small[1]), "--out", str(tmp_path / "out.csv")]) == 1
    *others, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"carnet-agent: c{suffix}: ") and last.isprintable()
    assert all(line.startswith("carnet-agent decode: not used: ") and line.isprintable() for line in others)
    assert not (tmp_path / "out.csv").exists()
    assert caplog.records == []


def test_no_reading_at_all_says_what_to_look_at(
    small: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small[0].write_text("(1.000000) can0 7FF#00\n")
    out = tmp_path / "out.csv"
    assert main(["decode", str(small[0]), "--dbc", str(small[1]), "--out", str(out)]) == 1
    *_, summary, last = capsys.readouterr().err.splitlines()
    assert summary == "carnet-agent decode: 1 frames, 0 readings"
    assert last.startswith("carnet-agent: c.log: no frame is of a message") and "--match pgn" in last
    assert not out.exists()


@pytest.mark.parametrize(("module", "words"), [("pyarrow", ["--format", "parquet"]), ("asammdf", [])])
def test_a_missing_package_is_named_with_its_command(
    module: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are optional, make demo does not install them, and the code is the same: the command line is right."""
    monkeypatch.setitem(sys.modules, module, None)
    capture = shared_data() / "captures" / "tractor_j1939.MF4"
    assert decode(capture, TRACTOR, tmp_path / "out", "--match", "pgn", *words) == 1
    assert f"-m pip install {module}" in capsys.readouterr().err


def test_broken_lines_are_named_and_good_ones_survive(
    small: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """File, line and reason on standard error; short frames lose only what does not fit; text is quoted."""
    capture, dbc = small
    assert main(["decode", str(capture), "--dbc", str(dbc)]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1:] == [
        '1.000000,can0,123,0,M,a,1,0.5,,"m,s"',
        '1.000000,can0,123,0,M,b,2,2,"two, x",',
        '1.000004,can0,123,0,M,a,3,1.5,,"m,s"',
    ]
    assert "c.log:2: malformed line" in shown.err and "c.log:3: malformed line" in shown.err
    assert "error frame 1" in shown.err and "remote frame 1" in shown.err


def test_frames_that_cantools_refuses_are_left_out_unless_asked_for(
    small: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """And their number is said either way."""
    capture, dbc = small
    dbc.write_text(DBC.replace("8|8@1-", "7|8@1-"))
    for options, rows, told in (([], 0, "--partial writes them too"), (["--partial"], 3, "written in part")):
        assert main(["decode", str(capture), "--dbc", str(dbc), *options]) == (0 if rows else 1)
        shown = capsys.readouterr()
        assert ("no frame of it can be decoded as a whole; --partial" in shown.err) == (not rows)
        assert (
            shown.out.count("\n") - 1 == rows
            and f"2 frames have signals that overlap by definition; {told}" in shown.err
        )


def test_the_same_number_as_29_bit_identifier_is_another_message(
    small: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """00000123 on can1 does not decode as 123."""
    capture, dbc = small
    main(["decode", str(capture), "--dbc", f"can1={dbc}"])
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, code, sentence",
    [
        (["decode"], 2, "required"),
        (["decode", "c.log", "--dbc", "none.dbc"], 2, "there is no DBC file none.dbc"),
        (["decode", "c.log", "--dbc", "d.dbc", "--match", "name"], 2, "invalid choice"),
        (["decode", "none.log", "--dbc", "d.dbc"], 2, "none.log: cannot be read"),
        (["decode", "d.dbc", "--dbc", "d.dbc"], 1, "d.dbc: not one of"),
        (["decode", "c.log", "--dbc", "c.log"], 1, "c.log: no usable message"),
        (["decode", "c.log", "--dbc", "d.dbc.gz"], 1, "d.dbc.gz: is not text; a DBC is wanted"),
        (["decode", "c.log", "--dbc", "d.dbc", "--out", "d.dbc"], 2, "d.dbc exists: name a new file, or write over it"),
        (["decode", "c.log", "--dbc", "d.dbc", "--out", "none/out.csv"], 2, "cannot be written"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_wrong_use_and_broken_input_end_in_one_sentence(
    small: tuple[Path, Path],
    arguments: list[str],
    code: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 2 for wrong use or a file that is not there, 1 for a broken input; one line, no traceback."""
    monkeypatch.chdir(small[0].parent)
    Path("d.dbc.gz").write_bytes(gzip.compress(small[1].read_bytes()))
    try:
        got = main(arguments)
    except SystemExit as leave:
        got = int(leave.code or 0)
    shown = capsys.readouterr().err
    assert got == code and sentence in shown and shown.count("\n") == 1


def test_what_is_there_is_written_over_only_if_asked(small: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "kept.csv"
    out.write_text("somebody's")
    words = ["decode", str(small[0]), "--dbc", str(small[1]), "--out", str(out)]
    assert main(words) == 2
    assert out.read_text() == "somebody's"
    assert main([*words, "--force"]) == 0
    assert out.read_text().startswith("timestamp,")


def test_a_failed_run_leaves_no_file(small: tuple[Path, Path]) -> None:
    """``--out`` appears whole or not at all."""
    capture, dbc = small
    (capture.parent / "bad.blf").write_bytes(b"LOGG nothing of the kind")
    out = str(capture.parent / "out")
    assert main(["decode", str(capture.parent / "bad.blf"), "--dbc", str(dbc), "--out", out]) == 1
    assert sorted(path.name for path in capture.parent.iterdir()) == ["bad.blf", "c.log", "d.dbc"]


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` ends with 0 and shows how to call it."""
    with pytest.raises(SystemExit) as leave:
        main(["decode", "--help"])
    assert leave.value.code == 0 and "example:" in capsys.readouterr().out


def test_a_closed_pipe_and_an_interrupt_are_quiet(small: tuple[Path, Path], tmp_path: Path) -> None:
    """``| head -1`` and Ctrl-C end the command without a traceback."""
    _, dbc = small
    many = tmp_path / "many.log"
    many.write_bytes(CAPTURE.splitlines(keepends=True)[0] * 200_000)
    command = [sys.executable, "-m", "carnet_agent", "decode", str(many), "--dbc", str(dbc)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait(timeout=30) == 141
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.stderr.read() == b"" and process.wait(timeout=30) == 130
