"""The threat model names a test for every attack and fault of our list, or says why there is none; both are true."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from tests.conftest import CHECKOUT

TESTS = CHECKOUT / "tests"
DOCUMENT = (CHECKOUT / "docs" / "threat-model.md").read_text(encoding="utf-8")
TESTED, MISSING = "Attacks and faults with a test", "Not yet, and why"
LIST = {*(f"W{number}" for number in range(1, 26)), *(f"F{number}" for number in range(1, 28))}
ROW = re.compile(r"^\| ?([WF0-9, ]*) ?\|[^|]+\|([^|]+)\|$", re.MULTILINE)
QUOTED = re.compile(r"`([^`]+)`")
LABELS = re.compile(r"^test_((?:[wf]\d+_)+)")
AND_SO_ON = "…"


@cache
def functions(file: str) -> tuple[str, ...]:
    """The names of all tests in a file, named from the checkout; none if there is no such file."""
    path = CHECKOUT / file
    if not path.is_file():
        return ()
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def rows(document: str, title: str) -> list[tuple[list[str], str]]:
    """Labels and last cell of every row of the table under a title."""
    section = document.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    _, *found = ROW.findall(section)  # the first is the heading
    return [(re.findall(r"[WF]\d+", labels), cell) for labels, cell in found]


def named(cell: str) -> Iterator[tuple[str, str]]:
    """Each file of a cell with each name behind it; a file alone with an empty name."""
    file, names = "", 0
    for word in QUOTED.findall(cell):
        if word.endswith(".py"):
            if file and not names:
                yield file, ""
            file, names = word, 0
        else:
            names += 1
            yield file, word
    if file and not names:
        yield file, ""


def found(file: str, name: str) -> list[str]:
    """The tests that are meant."""
    beginning = name.removesuffix(AND_SO_ON)
    return [each for each in functions(file) if each == name or (beginning != name and each.startswith(beginning))]


def wrong_names(document: str) -> list[str]:
    """Every name in the tables that no test has."""
    cells = [cell for title in (TESTED, MISSING) for _, cell in rows(document, title)]
    meant = [each for cell in cells for each in named(cell)]
    return [f"{file} {name}" for file, name in meant if not (found(file, name) if name else functions(file))]


def test_every_test_that_the_tables_name_exists() -> None:
    assert wrong_names(DOCUMENT) == []


def test_every_attack_and_fault_stands_in_one_of_the_tables_once() -> None:
    labels = Counter(label for title in (TESTED, MISSING) for labels, _ in rows(DOCUMENT, title) for label in labels)
    assert set(labels) == LIST
    assert [label for label, count in labels.items() if count > 1] == []


def test_a_row_with_a_test_names_one_and_a_row_without_says_why() -> None:
    assert [labels for labels, cell in rows(DOCUMENT, TESTED) if not list(named(cell))] == []
    assert [labels for labels, cell in rows(DOCUMENT, MISSING) if len(QUOTED.sub("", cell).split()) < 8] == []


def test_every_test_with_a_label_stands_in_the_row_of_that_label() -> None:
    """A test that the table does not show is one that nobody finds."""
    shown = {
        (label, file, test)
        for labels, cell in rows(DOCUMENT, TESTED)
        for file, name in named(cell)
        for test in found(file, name)
        for label in labels
    }
    paths = [path.relative_to(CHECKOUT).as_posix() for path in sorted(TESTS.rglob("test_*.py"))]
    labelled = {
        (label.upper(), file, test)
        for file in paths
        for test in functions(file)
        if (match := LABELS.match(test))
        for label in match[1].rstrip("_").split("_")
    }
    assert len(labelled) > 60
    assert labelled - shown == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("`test_w9_…`", "`test_w99_…`"),
        ("`test_a_second_agent_is_refused`", "`test_a_third_agent_is_refused`"),
        ("`test_a_second_agent_is_refused`", "`test_a_second_agent_is_refuse`"),
        ("`tests/agent/test_remains.py`", "`tests/agent/test_nothing.py`"),
        ("`tests/attacks/test_power_cut.py`", "`tests/attacks/test_disk_faults.py`"),
        ("`test_a_node_of_the_tree_is_no_leaf`", "`test_a_node_is_no_leaf`"),
    ],
)
def test_a_wrong_name_is_noticed(old: str, new: str) -> None:
    assert DOCUMENT.count(old) == 1
    assert len(wrong_names(DOCUMENT.replace(old, new))) == 1


def test_a_label_that_is_missing_or_stands_twice_is_noticed() -> None:
    def labels(document: str) -> Counter[str]:
        return Counter(label for title in (TESTED, MISSING) for found, _ in rows(document, title) for label in found)

    assert set(labels(DOCUMENT.replace("| W9 |", "| W8 |"))) != LIST
    assert labels(DOCUMENT.replace("| W9 |", "| W8 |"))["W8"] == 2
    assert "W24" not in labels(DOCUMENT.replace("\n| W24 |", "\n| |"))
