"""The requirement files: every part by version and hash, no place to get it from, and what pyproject.toml asks for."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.layout import CHECKOUT, project

RUN = CHECKOUT / "requirements" / "run.txt"
TEST = CHECKOUT / "requirements" / "test.txt"
BENCH = CHECKOUT / "requirements" / "bench.txt"
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")


def pinned(path: Path) -> dict[str, Requirement]:
    """Name -> requirement, of a requirement file."""
    lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    found = [Requirement(line.partition("--hash")[0].strip()) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): each for each in found}


def declared(*extras: str) -> dict[str, Requirement]:
    """Name -> requirement, of pyproject.toml's dependencies and these extras."""
    described = project()["project"]
    assert isinstance(described, dict)
    lines = [*described["dependencies"]]
    for extra in extras:
        lines += described["optional-dependencies"][extra]
    return by_name(lines)


def rivals() -> dict[str, Requirement]:
    """Name -> requirement, of what only benches need."""
    groups = project()["dependency-groups"]
    assert isinstance(groups, dict)
    return by_name(groups["bench"])


def by_name(lines: list[str]) -> dict[str, Requirement]:
    """Name -> requirement."""
    return {canonicalize_name(each.name): each for each in map(Requirement, lines)}


@pytest.mark.parametrize("path", [RUN, TEST, BENCH], ids=["run", "test", "bench"])
def test_every_requirement_has_one_version_and_hashes_and_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for line in text.replace("\\\n", " ").splitlines():
        assert re.fullmatch(r"[a-z0-9.-]+==[\w.]+ (; [^-]+?)?( +--hash=sha256:[0-9a-f]{64})+", line), line
    assert "://" not in text
    assert "index" not in text


def test_the_larger_set_holds_the_smaller_one_in_the_same_versions() -> None:
    """`make test` after `make demo` only adds, and `make bench` after it."""
    for small, large in pairwise(map(pinned, (RUN, TEST, BENCH))):
        assert {name: str(each) for name, each in small.items() if str(large.get(name)) != str(each)} == {}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_what_pyproject_asks_for_is_there_and_fits(python: str, machine: str) -> None:
    """On every Python and machine that we promise."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "sys_platform": "linux",
    }
    everything = declared("agent", "cloud", "simulator", "postgres", "kafka", "parquet", "mf4", "dev")
    sets = [
        (pinned(RUN), declared("agent", "cloud", "simulator")),
        (pinned(TEST), everything),
        (pinned(BENCH), everything | rivals()),
    ]
    for pins, wanted in sets:
        for name, requirement in wanted.items():
            if requirement.marker is None or requirement.marker.evaluate(environment):
                marker = pins[name].marker
                assert marker is None or marker.evaluate(environment), name
                (version,) = pins[name].specifier
                assert requirement.specifier.contains(version.version), name


def test_the_demo_waits_for_nothing_that_only_tests_need() -> None:
    """What is large or only for development would be the longest part of a first run."""
    large = {"asammdf", "confluent-kafka", "httpx", "hypothesis", "mypy", "pandas", "pyarrow", "pytest", "ruff"}
    assert set(pinned(RUN)) & large == set()


def test_tests_need_no_rival() -> None:
    assert set(pinned(TEST)) & set(rivals()) == set()
