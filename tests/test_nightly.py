"""The parts of a night: each is a program, is described with its command and last result, and stops no other."""

from __future__ import annotations

import importlib.util
import re
import sys

import pytest

from tests import nightly
from tests.conftest import CHECKOUT
from tests.soak import judge
from tests.soak.schedule import LASTS_S

DOCUMENT = (CHECKOUT / "docs" / "nightly.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| `([^`]+)` \| ([^|]+) \|$", re.MULTILINE)
RESULT = re.compile(r"\b20\d\d-\d\d-\d\d, `[0-9a-f]{7}`: \S")
ROWS = {row[0]: row[1:] for row in ROW.findall(DOCUMENT)}


def test_make_nightly_runs_the_parts() -> None:
    recipe = (CHECKOUT / "Makefile").read_text(encoding="utf-8").partition("\nnightly: ")[2].partition("\n\n")[0]
    assert recipe.splitlines()[1:] == ["\t@$(BIN)/python -m tests.nightly $(ARGS)"]


def test_the_document_has_every_part_and_no_other() -> None:
    assert list(ROWS) == list(nightly.PARTS)


@pytest.mark.parametrize("part", nightly.PARTS)
def test_a_part_is_a_program_and_is_described_by_what_it_runs(part: str) -> None:
    words = nightly.PARTS[part]
    if words[0] == "-m":
        found = importlib.util.find_spec(words[1])
        assert found is not None
        if found.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{words[1]}.__main__")
    else:
        assert (CHECKOUT / words[0]).is_file()
    assert ROWS[part][2].partition("python ")[2] == " ".join(words).replace("{day}", "$(date +%Y%m%d)")
    assert nightly.command(part, "20261128")[0] == sys.executable


@pytest.mark.parametrize("part", nightly.PARTS)
def test_a_part_says_what_came_of_it_the_last_time(part: str) -> None:
    """Date, commit and figure; or that it has not been run as a whole yet."""
    assert RESULT.search(ROWS[part][3]) or ROWS[part][3].startswith("not yet as a whole")


def test_the_soak_is_described_by_its_faults_and_bounds() -> None:
    for fault in LASTS_S:
        assert f"`{fault}`" in DOCUMENT
    for bound in (judge.MEMORY_KB_PER_HOUR_MAX, judge.EVENT_BYTES_MAX):
        assert f"{bound:,}" in DOCUMENT


def test_a_part_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """They are asked for by name; the exit code says that one of them failed."""
    monkeypatch.setattr(nightly, "PARTS", {"first": ("-m", "tests.no_such_part"), "second": ("-m", "this")})
    assert nightly.main([]) == 1
    said = capfd.readouterr().out.splitlines()
    assert said[-2].startswith("first    failed after ")
    assert said[-1].startswith("second   passed after ")
    assert nightly.main(["second"]) == 0


def test_a_part_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        nightly.main(["world", "word"])
    assert left.value.code == 2
    assert f"there is no part word: {', '.join(nightly.PARTS)}" in capsys.readouterr().err
