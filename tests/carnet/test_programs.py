"""How every program ends: whoever has read enough of it gets no traceback, and does not take it for done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from carnet.cli import main as carnet
from carnet.commandline import Parser
from carnet.programs import INTERRUPTED
from carnet_agent.__main__ import main as agent
from carnet_cloud.__main__ import main as cloud
from carnet_simulator.__main__ import main as simulator

PRINTING = "import sys; from carnet.programs import finish; sys.exit(finish('carnet', lambda: print({text}) or {code}))"


def unread(*words: str, folder: Path) -> tuple[int, bytes]:
    """Exit code and standard error of a program whose output nobody reads."""
    command = [sys.executable, "-E", *words]  # buffered, whatever the environment says
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command, cwd=folder, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("text", "code"), [("'x' * 10**6", 0), ("'x'", 0), ("'x'", 1)])
def test_nobody_who_reads_is_no_traceback_and_no_success(tmp_path: Path, text: str, code: int) -> None:
    """More than a buffer holds, and less: that breaks only at the end."""
    assert unread("-c", PRINTING.format(text=text, code=code), folder=tmp_path) == (141, b"")


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "carnet.cli", "recipient", "keygen", "--out", "key"],
        ["-m", "carnet_cloud", "keygen", "keys"],
    ],
)
def test_the_programs_end_so(tmp_path: Path, words: list[str]) -> None:
    assert unread(*words, folder=tmp_path) == (141, b"")


def test_a_connection_that_breaks_is_not_taken_for_the_output(tmp_path: Path) -> None:
    """Else a withdrawal that did not arrive would end without a word."""
    raising = (
        "import sys; from carnet.programs import finish\n"
        "def run(): raise BrokenPipeError('of a connection')\n"
        "sys.exit(finish('carnet', run))"
    )
    done = subprocess.run([sys.executable, "-c", raising], capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert b"of a connection" in done.stderr


PROGRAMS = {"carnet": carnet, "carnet-agent": agent, "carnet-cloud": cloud, "carnet-sim": simulator}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_interrupt_before_anything_has_begun_has_a_code_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the command line is read, or what the command needs is imported."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Parser, "parse_args", interrupted)
    assert PROGRAMS[name]([]) == INTERRUPTED
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_interrupt_while_a_program_of_the_checkout_starts_is_no_traceback(tmp_path: Path, name: str) -> None:
    """It hangs in its first import but one; Python alone would show where, and die of the signal."""
    (tmp_path / "argparse.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    script = Path(sys.executable).with_name(name)
    with subprocess.Popen(
        [script], env={**os.environ, "PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == INTERRUPTED
        assert process.stderr.read() == b""
