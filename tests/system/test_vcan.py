"""Every case of ``guest/cases`` under a kernel with CAN: one boot for all, one result here for each."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest

from tests.realparts import real_part
from tests.system.guest.casework import CASES, run_cases
from tests.system.guest.require import require_guest

TIMEOUT_S = 180

pytestmark = pytest.mark.timeout(TIMEOUT_S + 30)


def case_names() -> list[str]:
    """``file::function`` of every case, read from the source: importing one needs CAN."""
    names = []
    for path in sorted(CASES.glob("test_*.py")):
        functions = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        names += [f"{path.stem}::{name}" for name in functions if name.startswith("test_")]
    return names


@dataclass(frozen=True, slots=True)
class Results:
    """What the cases did; a case with parameters is several."""

    failures: Mapping[str, list[str]]
    """By name: what went wrong; empty for success. A case that did not run is not there."""
    output: str


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    require_guest()
    shared = tmp_path_factory.mktemp("guest")
    report = shared / "report.xml"
    outcome = run_cases(CASES, report, TIMEOUT_S, {})
    if not report.exists():
        pytest.fail(f"the guest ended with {outcome.code} and without a report:\n{outcome.output[-4000:]}")
    failures: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name', '').partition('[')[0]}"
        wrong = failures.setdefault(name, [])
        wrong += [f"{case.get('name')}: {child.tag}\n{child.text}" for child in case if child.tag != "properties"]
    real_part("can-utils", "candump, cangen and canplayer as peers")
    return Results(failures, outcome.output)


@pytest.mark.parametrize("case", case_names(), ids=str)
def test_in_guest(case: str, results: Results) -> None:
    """A skipped case counts as failed: the guest has everything a case may need."""
    if case not in results.failures:
        pytest.fail(f"did not run:\n{results.output[-4000:]}")
    if results.failures[case]:
        pytest.fail("\n".join(results.failures[case]), pytrace=False)
    if case.startswith("test_power_cuts::"):
        real_part("dm-log-writes", "under ext4")


def test_every_file_of_cases_is_run() -> None:
    """A case written in a way that is not found here would silently be no test at all."""
    source = "".join(path.read_text() for path in CASES.glob("*.py"))
    assert len(case_names()) == source.count("def test_") > 0
