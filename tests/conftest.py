"""What every test may use: the shared vehicle data, the same examples in every run, and the table of real parts.

A test that has started something real (a broker, a guest's kernel, a database) or read something that others made (a
capture, a catalogue) says so once it has answered: ``real_part("mosquitto", "2.0.11")`` from ``tests.realparts``. Every
run ends with a table of them; where CI=true a whole run fails unless they are those of ``tests/real-parts.txt``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.realparts import committed, seen

if TYPE_CHECKING:
    # benches read this module too, without what the tests' servers need
    from tests.system.postgres import Postgres

CHECKOUT = Path(__file__).resolve().parents[1]

# The same examples everywhere and in every run: what fails here fails there. Time is judged by benches.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    """A shell starts what runs behind it deaf to Ctrl-C, and every program that a test starts would be deaf with it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests that want one; each makes a database of its own."""
    from tests.system.postgres import Postgres

    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of real parts, and in CI what it lacks or has too much beside the committed list."""
    terminalreporter.section("real parts exercised")
    for name, detail in seen().items():
        terminalreporter.write_line(f"{name:30} {detail}")
    for line in _differences(config):
        terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and _differences(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _differences(config: pytest.Config) -> list[str]:
    """Only a whole run in CI is compared: a chosen test cannot exercise everything."""
    chosen = any(config.getoption(name, None) for name in ("keyword", "markexpr", "deselect", "ignore", "lf"))
    whole = not chosen and config.args == config.getini("testpaths")
    if os.environ.get("CI") != "true" or not whole:
        return []
    names = set(seen())
    missing = [f"not exercised, but in tests/real-parts.txt: {name}" for name in sorted(committed() - names)]
    return missing + [f"exercised, but not in tests/real-parts.txt: {name}" for name in sorted(names - committed())]
