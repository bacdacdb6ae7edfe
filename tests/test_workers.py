"""A whole run on several cores: real programs one after the other, and one table of what all workers exercised."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.layout import CHECKOUT
from tests.realparts import committed
from tests.workers import WORKERS_MAX, is_port_of_ours

CASE = """\
import os, pathlib
import pytest
from tests.realparts import real_part

@pytest.mark.parametrize("number", range({count}))
def test_case(number):
    real_part("kernel", "{file}")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "none")
    with pathlib.Path(__file__).parents[2].joinpath(worker).open("a") as log:
        print("{folder}/{file}", file=log)
"""
FILES = {"agent/test_a": 30, "agent/test_b": 20, "system/test_c": 4, "system/test_d": 4, "system/test_e": 4}
ASIDE = "system/test_units"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A checkout with these files of tests and our own way to run them."""
    for name, count in FILES.items():
        folder, _, file = name.partition("/")
        path = tmp_path / "tests" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CASE.format(count=count, folder=folder, file=file))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    return tmp_path


def run(suite: Path, *words: str, **settings: str) -> tuple[int, list[str]]:
    """Exit code and lines of a run with these options, as `make test` would start it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))}
    environment |= {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT}/tools", **settings}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", *words]
    done = subprocess.run(command, env=environment, cwd=suite, text=True, capture_output=True, check=False)
    return done.returncode, done.stdout.splitlines()


def ran(suite: Path) -> dict[str, list[str]]:
    """Worker -> the files of the tests that it ran, in its order."""
    return {path.name: path.read_text().split() for path in suite.iterdir() if path.name.startswith(("gw", "none"))}


def test_real_programs_come_first_and_one_after_the_other(suite: Path) -> None:
    """In one worker, whatever runs in the other; no test is lost or done twice."""
    code, said = run(suite, "-n", "2")
    assert code == 0, said
    (system,) = [files for files in ran(suite).values() if "system/test_c" in files]
    assert system[:12] == [name for name in FILES if name.startswith("system") for _ in range(4)]
    assert {name: sum(files.count(name) for files in ran(suite).values()) for name in FILES} == FILES
    assert len(ran(suite)) == 2


def test_what_has_a_machine_of_its_own_is_another_ones(suite: Path) -> None:
    """Begun as early as the rest of its folder."""
    (suite / "tests" / f"{ASIDE}.py").write_text(CASE.format(count=4, folder="system", file="test_units"))
    code, said = run(suite, "-n", "2")
    assert code == 0, said
    (aside,) = [files for files in ran(suite).values() if ASIDE in files]
    assert aside[:4] == [ASIDE] * 4 and "system/test_c" not in aside


@pytest.mark.parametrize("workers", ["0", "2"])
def test_one_table_says_what_was_exercised_and_in_ci_another_than_the_list_fails(suite: Path, workers: str) -> None:
    """The same on one core and on several."""
    code, said = run(suite, "-n", workers, CI="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    start = said.index("exercised, but not in tests/real-parts.txt: kernel") - len(committed())
    assert said[start - 1].split(maxsplit=1) == ["kernel", "test_a, test_b, test_c, test_d, test_e"]
    missing = [f"not exercised, but in tests/real-parts.txt: {name}" for name in sorted(committed())]
    assert said[start : start + len(missing)] == missing


@pytest.mark.parametrize("chosen", [["tests/agent"], ["-k", "test_b"]], ids=" ".join)
def test_chosen_tests_wait_for_no_worker(suite: Path, chosen: list[str]) -> None:
    """And are not compared with the list: they cannot exercise everything."""
    code, said = run(suite, "-n", "auto", *chosen, CI="true")
    assert (code, list(ran(suite))) == (0, ["none"]), said


def test_no_two_workers_are_given_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    ports, owned = range(32768, 32868), Counter[int]()
    for number in range(WORKERS_MAX):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{number}")
        owned.update(filter(is_port_of_ours, ports))
    assert owned == dict.fromkeys(ports, 1)
