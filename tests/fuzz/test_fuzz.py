"""The law of every target holds for its seeds, for whatever was found before, and for a number of fuzzed inputs."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import bombs, runner
from tests.fuzz.shrink import raised, shrink
from tests.fuzz.target import CHECKOUT, FOUND, load, names
from tests.lacking import lacking

BOMB_BYTES = 64 << 20
"""Four times what may be taken; ``make nightly`` sets off a gigabyte."""
TARGETS = names()


def fuzzed(name: str, folder: Path, *, runs: int, hang_s: int = runner.HANG_S) -> runner.Outcome:
    """In a child. Without atheris (it has wheels for x86-64 alone) the test is skipped, in CI never."""
    if not runner.available():
        lacking(runner.missing(platform.machine()))
    return runner.fuzz(name, folder, runs=runs, hang_s=hang_s)


@pytest.mark.parametrize("name", TARGETS)
def test_the_law_holds_for_the_seeds_and_whatever_was_found_before(name: str) -> None:
    target = load(name)
    assert target.law.endswith(".")
    inputs = target.inputs()
    assert inputs
    for data in inputs:
        target.check(data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_law_holds_for_whatever_the_fuzzer_tries(name: str, tmp_path: Path) -> None:
    outcome = fuzzed(name, tmp_path, runs=load(name).runs)
    assert outcome.broken is None, f"{load(name).law}\n{outcome.said}\npython -m tests.fuzz {name}"
    assert outcome.runs == load(name).runs


def test_without_the_fuzzer_the_reason_is_that_of_the_machine() -> None:
    """Where it could be had, how to get it; elsewhere that it cannot."""
    assert "tools/boot.py test" in runner.missing("x86_64")
    assert "aarch64" in runner.missing("aarch64") and "boot.py" not in runner.missing("aarch64")


def test_every_input_that_was_found_belongs_to_a_target() -> None:
    assert {path.name.partition("-")[0] for path in FOUND.iterdir()} <= set(TARGETS)


@pytest.mark.parametrize(
    "name, found, said",
    [
        ("crash", b"BU", "ZeroDivisionError"),
        ("hungry", b"M", "TooMuchError"),
        ("slow", b"S", "TooMuchError"),
        ("hang", b"H", "timeout after"),
    ],
)
def test_the_fuzzer_finds_what_breaks_on_purpose(name: str, found: bytes, said: str, tmp_path: Path) -> None:
    """By coverage: both bytes at once are one input in 65,536, and fewer are tried."""
    # two seconds of the clock are over sooner than three of CPU, on a busy machine
    outcome = fuzzed(f"broken.{name}", tmp_path, runs=20_000, hang_s=2 if name == "hang" else runner.HANG_S)
    assert outcome.broken is not None
    assert outcome.broken.read_bytes().startswith(found)
    assert said in outcome.said


def test_what_was_found_is_made_smaller() -> None:
    check = load("broken.crash").check
    assert raised(check, b"BU and more") == "ZeroDivisionError check"
    assert shrink(check, b"BU" + bytes(range(200))) == b"BU"


def test_no_bomb_takes_more_than_16_megabytes() -> None:
    command = [sys.executable, "-m", "tests.fuzz.bombs", str(BOMB_BYTES)]
    done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    took = json.loads(done.stdout)
    assert set(took) == set(bombs.BOMBS)
    assert {name: size for name, size in took.items() if size > bombs.MEMORY_BYTES_MAX} == {}
    # where nothing is measured, nothing is bounded
    assert took["a batch of constants"] > bombs.MEMORY_BYTES_MAX // 8
    assert done.returncode == 0
