"""What every test may use: the shared vehicle data, the same examples in every run, and the table of real parts.

A test that has started something real (a broker, a guest's kernel, a database) or read something that others made (a
capture, a catalogue) says so once it has answered: ``real_part("mosquitto", "2.0.11")`` from ``tests.realparts``. Every
run ends with a table of them; where CI=true a whole run fails unless they are those of ``tests/real-parts.txt``.
With ``-n auto`` a whole run is spread over the cores as ``tests.workers`` says; chosen tests run in this process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.lacking import lacking
from tests.realparts import committed, seen, seen_elsewhere
from tests.workers import Spread, turn_of, worker_count

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
        lacking("the shared vehicle data is missing: set CARNET_DATA to its folder")
    return folder


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Chosen tests are done before workers have started; ``-n 2`` spreads them all the same."""
    return worker_count() if _is_whole(config) else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    """Without the option it would begin with the pieces of most tests, which are not the longest."""
    config.option.loadscopereorder = False
    return Spread(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker: the order in which the pieces are handed out."""
    if _is_worker(config):
        items.sort(key=lambda item: turn_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker that ended by itself says what it has exercised; what a killed one did does not count."""
    seen_elsewhere(getattr(node, "workeroutput", {}).get("real_parts", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of real parts, and in CI what it lacks or has too much beside the committed list."""
    terminalreporter.section("real parts exercised")
    for name, details in seen().items():
        terminalreporter.write_line(f"{name:30} {', '.join(details)}")
    for line in _differences(config):
        terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if _is_worker(session.config):
        session.config.workeroutput["real_parts"] = seen()  # type: ignore[attr-defined]
    elif exitstatus == pytest.ExitCode.OK and _differences(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_worker(config: pytest.Config) -> bool:
    """Whether this process runs what another one hands it."""
    return hasattr(config, "workerinput")


def _is_whole(config: pytest.Config) -> bool:
    """Whether no test was chosen, neither by a path nor by an option."""
    chosen = any(config.getoption(name, None) for name in ("keyword", "markexpr", "deselect", "ignore", "lf"))
    return not chosen and config.args == config.getini("testpaths")


def _differences(config: pytest.Config) -> list[str]:
    """Only a whole run in CI is compared: a chosen test cannot exercise everything."""
    if os.environ.get("CI") != "true" or not _is_whole(config):
        return []
    names = set(seen())
    missing = [f"not exercised, but in tests/real-parts.txt: {name}" for name in sorted(committed() - names)]
    return missing + [f"exercised, but not in tests/real-parts.txt: {name}" for name in sorted(names - committed())]
