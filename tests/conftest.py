"""What every test may use: the shared vehicle data, and the table of real parts at the end of a run."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from tests.realparts import committed, real_part, seen

CHECKOUT = Path(__file__).resolve().parents[1]


def shared_data() -> Path:
    """The folder of the shared vehicle data, read where it is and never copied.

    ``CARNET_DATA`` overrides the place ``../shared/data`` beside the checkout. Missing: the test is skipped and says
    so, but with CI=true it fails, because a check that never ran must not look like one that passed.
    """
    folder = Path(os.environ.get("CARNET_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        sentence = "the shared vehicle data is missing: set CARNET_DATA to its folder"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return folder


def pytest_configure(config: pytest.Config) -> None:
    real_part("sqlite", sqlite3.sqlite_version)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of real parts, and in CI what it lacks or has too much beside the committed list."""
    terminalreporter.section("real parts exercised")
    for name, detail in seen().items():
        terminalreporter.write_line(f"{name:24} {detail}")
    for line in _differences(config):
        terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and _differences(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _differences(config: pytest.Config) -> list[str]:
    """Only a whole run in CI is compared: a chosen test cannot exercise everything."""
    whole = not config.getoption("keyword") and not config.getoption("markexpr") and config.args == config.getini("testpaths")
    if os.environ.get("CI") != "true" or not whole:
        return []
    names = set(seen())
    missing = [f"not exercised, but in tests/real-parts.txt: {name}" for name in sorted(committed() - names)]
    return missing + [f"exercised, but not in tests/real-parts.txt: {name}" for name in sorted(names - committed())]
