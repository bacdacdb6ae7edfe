"""How every program ends: whoever has read enough of it gets no traceback, and does not take it for done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from carnet.programs import finish

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


def test_an_interrupt_has_the_code_that_the_program_says(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert (finish("carnet", interrupted), finish("carnet-sim", interrupted, interrupted=0)) == (130, 0)
    assert capsys.readouterr() == ("", "")
