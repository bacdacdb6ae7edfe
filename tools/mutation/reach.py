"""Which test runs which lines, and how long it takes: a part's tests run once, under coverage, in a process of its own.

Law: a mutant is judged by every test that reaches it; tests that cannot reach it are not run, because they cannot fail.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import coverage
import pytest

PLUGINS = ("-q", "--tb=no", "--no-header", "--no-summary", "-p", "no:cacheprovider", "--assert=plain")


@dataclass(slots=True)
class Reach:
    """``lines``: (file, line) -> tests; ``at_import``: (file, line) that importing or collecting runs."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    at_import: set[tuple[str, int]] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    seconds_max: float = math.inf
    """Of processor time for one mutant: the rest of the tests, the slowest ones, is left out."""

    def tests(self, file: str, lines: frozenset[int]) -> list[str]:
        """Those that run one of these lines, the quickest first."""
        found = {test for line in lines for test in self.lines.get((file, line), ())}
        return self._within(sorted(found, key=lambda test: (self.seconds[test], test)))

    def tests_after_import(self, file: str) -> list[str]:
        """All: a constant may be seen by whoever imports it. First those that run anything of its file, and quickly."""
        near = {test for (each, _), tests in self.lines.items() if each == file for test in tests}
        return self._within(sorted(self.seconds, key=lambda test: (test not in near, self.seconds[test], test)))

    def _within(self, tests: list[str]) -> list[str]:
        sums = accumulate(self.seconds[test] for test in tests)
        return [test for test, total in zip(tests, sums, strict=True) if total <= self.seconds_max]

    def is_at_import(self, file: str, lines: frozenset[int]) -> bool:
        return any((file, line) in self.at_import for line in lines)


class Watch:
    """A pytest plugin that tells coverage which test is running."""

    def __init__(self, measured: coverage.Coverage, reach: Reach) -> None:
        self._measured = measured
        self._reach = reach

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)
        started = time.process_time()
        yield
        self._reach.seconds[item.nodeid] = time.process_time() - started
        self._measured.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reach.failed.append(report.nodeid)


def measure(files: Sequence[str], tests: Sequence[str], more: Sequence[object] = ()) -> Reach:
    """Run the tests once; to be called where nothing of ours has been imported yet, from the root of the checkout."""
    reach = Reach()
    measured = coverage.Coverage(data_file=None, include=list(files), config_file=False)
    measured.start()
    code = pytest.main([*PLUGINS, *tests], plugins=[Watch(measured, reach), *more])
    measured.stop()
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        reach.failed.append(f"pytest ended with {code}")
    data = measured.get_data()
    for path in data.measured_files():
        (file,) = (each for each in files if path.endswith("/" + each))
        for line, contexts in data.contexts_by_lineno(path).items():
            if "" in contexts:
                reach.at_import.add((file, line))
            reach.lines[file, line] = sorted(filter(None, contexts))
    return reach
