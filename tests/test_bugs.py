"""The list of bugs put in on purpose is the program's, and every one of them still has its line to change."""

from __future__ import annotations

import pytest

import bugs
from tests.conftest import CHECKOUT


def test_the_document_lists_every_bug() -> None:
    """In the program's order, with the file."""
    rows = [
        line.split("|") for line in (CHECKOUT / "docs" / "bugs-on-purpose.md").read_text().splitlines() if "` |" in line
    ]
    assert [(row[1].strip(), row[2].strip(" `")) for row in rows] == [(bug.name, bug.file) for bug in bugs.BUGS]


@pytest.mark.parametrize("bug", bugs.BUGS, ids=[bug.name for bug in bugs.BUGS])
def test_a_bug_still_has_its_line(bug: bugs.Bug) -> None:
    """A bug that changes nothing would never be found."""
    assert (CHECKOUT / bug.file).read_text().count(bug.old) == 1
    assert bug.old != bug.new
    assert all((CHECKOUT / test).exists() for test in bug.tests.split())
