"""The mutation tool: what it changes, what it lets be, and which changes it says that no test has noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutation.mutants import mutants_of
from mutation.parts import PARTS, Part
from mutation.sql import other_sql
from mutation.survivors import row, written
from tests.conftest import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "mutation.md"

PRODUCT = '''
"""A module with a law."""

from dataclasses import dataclass
from struct import Struct

LIMIT = 3
WIDTH = Struct(">I").size


@dataclass(frozen=True)
class Bounds:
    """Both are inside."""

    low: int = 1

    @property
    def width(self) -> int:
        return LIMIT - self.low


def allowed(value: int) -> bool:
    """Up to the limit."""
    assert isinstance(value, int)
    return 0 < value <= LIMIT


def untested(value: int) -> int:
    if value > 9:
        raise ValueError("a sentence for people")
    return value


def endless(value: int) -> int:
    while value > 0:
        value -= 1
    return value


MADE = endless(2)
'''
TESTS = """
import product

def test_limit():
    assert [product.allowed(n) for n in (1, 3, 4)] == [True, True, False]
    assert product.Bounds().width == 2
    assert product.MADE == 0

def test_endless():
    assert product.endless(3) == 0
"""


def changes(tmp_path: Path, source: str) -> list[str]:
    (tmp_path / "module.py").write_text(source, encoding="utf-8")
    return [each.change for each in mutants_of(tmp_path, "module.py")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["`a < b` → removed", "`a < b` → `a <= b`", "`a < b` → `a >= b`"]),
        ("x = a and b", ["`a and b` → `a or b`", "`a and b` → `b`", "`a and b` → `a`"]),
        ("x = not a", ["`not a` → `a`"]),
        ("x = a + 1", ["`a + 1` → `a - 1`", "`a + 1` → `a + 2`"]),
        ("x = True", ["`True` → `False`"]),
        ("x = b''", ["`b''` → `b'?'`"]),
        ("x = min(a)", ["`min(a)` → `max(a)`"]),
        ("x = 'word'", ["`'word'` → `'?word'`"]),
        ("x = a if b else c", ["`a if b else c` → `a if False else c`", "`a if b else c` → `a if True else c`"]),
        ("x.y = a", ["`x.y = a` → removed"]),
        ("raise A", ["`raise A` → removed"]),
        ("def f(a=0): return a", ["`0` → `1`", "`return a` → `return None`"]),
        ("x = [a for a in b if a]", ["`[a for a in b if a]` → `[a for a in b if False]`"] * 1
         + ["`[a for a in b if a]` → `[a for a in b if True]`"]),
    ],
)  # fmt: skip
def test_what_somebody_in_a_hurry_gets_wrong_is_changed(tmp_path: Path, source: str, expected: list[str]) -> None:
    assert changes(tmp_path, source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A document."""',
        "x = 'a sentence for people'",
        "x: tuple[int, 3]",
        "def f(a: 1) -> 2: ...",
        "@dataclass(frozen=True)\nclass A(B, c=1): ...",
        "assert a < b",
        "for x in zip(a, b, strict=True): ...",
        "import a, b",
        "__all__ = ['a']",
        "x = None",
        "x = cast('A', y)",
        "T = TypeVar('T')",
        "A = Literal['a', 'b']",
        "def f():\n    return None",
    ],
)
def test_what_no_test_can_see_is_left_alone(tmp_path: Path, source: str) -> None:
    assert changes(tmp_path, source) == []


def test_a_query_is_changed_word_by_word() -> None:
    query = "select a from b where c = ? and d > 0 order by e limit ?"
    assert set(other_sql(query)) == {
        "select a from b where c = ? or d > 0 order by e limit ?",
        "select a from b where c <> ? and d > 0 order by e limit ?",
        "select a from b where c = ? and d >= 0 order by e limit ?",
        "select a from b where c = ? and d > 1 order by e limit ?",
        "select a from b where c = ? and d > 0 limit ?",
        "select a from b where c = ? and d > 0 order by e limit 1 + ?",
    }


def test_a_name_stays_when_lines_above_it_move(tmp_path: Path) -> None:
    before = changes(tmp_path, "def f(a):\n    return a + 1 < a + 1\n")
    assert changes(tmp_path, "\n\n# a comment\ndef f(a):\n    # another\n    return a + 1 < a + 1\n") == before
    assert len(set(before)) == len(before)


def test_a_change_that_no_test_notices_is_the_one_that_is_told(tmp_path: Path) -> None:
    """What is noticed is noticed in place, at import, in a property, or because a loop does not end."""
    (tmp_path / "product.py").write_text(PRODUCT, encoding="utf-8")
    (tmp_path / "test_product.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(
        "from hypothesis import settings\nsettings.register_profile('repeatable')\n", encoding="utf-8"
    )
    code = (
        "import json, os, pathlib\n"
        "from mutation import runner\nfrom mutation.mutants import mutants_of\n"
        "runner.CPU_S_LEAST = 1\n"
        "mutants = list(mutants_of(pathlib.Path.cwd(), 'product.py'))\n"
        "reach = runner.survey(['product.py'], ['test_product.py'])\n"
        "results = list(runner.judge(mutants, reach, ['test_product.py']))\n"
        "assert len(results) == len(mutants)\n"
        "print(json.dumps([each.mutant.partition(' ')[2] for each in results if not each.verdict]))\n"
    )
    path = os.pathsep.join([str(CHECKOUT / "tools"), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    survivors = json.loads(done.stdout)
    assert [each for each in survivors if not each.startswith("untested: ")] == [
        "allowed: `0 < value <= LIMIT` → `0 <= value <= LIMIT`",
        ": `endless(2)` → `endless(3)`",
    ]
    assert len(survivors) == 2 + sum(each.place == "untested" for each in mutants_of(tmp_path, "product.py"))


def test_what_is_written_down_has_a_reason_and_stands_there_once(tmp_path: Path) -> None:
    document = tmp_path / "mutation.md"
    head = "| file | in | change | why no test can tell |\n|---|---|---|---|\n"
    name = "a.py f: `a | b` → `a & b`"
    complete = row(name)[:-1] + "because |\n"
    document.write_text("text\n" + head + complete + "\nmore\n", encoding="utf-8")
    assert written(document) == {name: "because"}
    for wrong in (row(name) + "\n", complete + complete):
        document.write_text(head + wrong, encoding="utf-8")
        with pytest.raises(ValueError, match="reason"):
            written(document)


def test_every_survivor_that_is_written_down_is_still_a_mutant() -> None:
    """What changed since needs a new look, not an old reason."""
    listed = set(written(DOCUMENT))
    files = {name.partition(" ")[0] for name in listed}
    assert files <= {file for part in PARTS for file in part.sources(CHECKOUT)}
    assert listed - {each.name for file in files for each in mutants_of(CHECKOUT, file)} == set()


def test_a_name_that_is_no_file_is_no_part() -> None:
    """A folder that was renamed would leave its part without mutants, and without a survivor."""
    with pytest.raises(ValueError, match="there is no nowhere/"):
        Part("gate", ("cloud/carnet_cloud/gate.py", "nowhere/*.py"), ()).sources(CHECKOUT)


def test_every_file_and_test_of_a_part_is_there() -> None:
    for part in PARTS:
        assert part.sources(CHECKOUT)
        assert [test for test in part.tests if not (CHECKOUT / test).exists()] == []
