"""The source read as a test: layers, what pure modules own, first sentences, sizes, and words that do not belong."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.layout import CHECKOUT, PACKAGES, Module, is_pure, layers, modules, owned, part_of, project

LINES_MAX = 400
FUNCTION_LINES_MAX = 60
MODULES = modules()
PURE = [module for module in MODULES if is_pure(module)]
EXTRAS = {
    "carnet": (),
    "carnet_agent": ("agent", "parquet", "mf4"),
    "carnet_cloud": ("cloud", "postgres", "kafka"),
    "carnet_simulator": ("simulator",),
}
IMPORT_NAMES = {"paho-mqtt": "paho", "pynacl": "nacl", "python-can": "can", "backports.zstd": "backports"}
"""Distribution -> what it is imported as, where the two differ by more than a dash."""


def tracked() -> list[Path]:
    """Every file of the project; those that are about to be added, too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True, cwd=CHECKOUT).stdout.split("\0")
    return [CHECKOUT / name for name in names if name and (CHECKOUT / name).is_file()]


def test_core_and_parts_own_no_clock_socket_thread_file_or_randomness() -> None:
    """What they need of these is handed to them; a module that must own one stands in a layer of pyproject.toml."""
    assert {module.name: found for module in PURE if (found := owned(module.tree()))} == {}


@pytest.mark.parametrize(
    ("source", "thing"),
    [
        ("import time", "clock"),
        ("from time import monotonic", "clock"),
        ("from datetime import datetime\ndatetime.now()", "clock"),
        ("import datetime\ndatetime.datetime.now()", "clock"),
        ("import random\nrandom.random()", "random source"),
        ("from random import choice", "random source"),
        ("import numpy as np\nnp.random.rand(3)", "random source"),
        ("import numpy as np\nnp.random.default_rng()", "random source"),
        ("from nacl.signing import SigningKey\nSigningKey.generate()", "random source"),
        ("import nacl.utils\nnacl.utils.random(32)", "random source"),
        ("def f():\n    import socket", "socket"),
        ("from urllib.request import urlopen", "socket"),
        ("import paho.mqtt.client", "socket"),
        ("from concurrent.futures import ThreadPoolExecutor", "thread or process"),
        ("import os.path", "file"),
        ("import sqlite3", "file"),
        ("open('x')", "file"),
        ("import logging", "log"),
        ("print('x')", "log"),
    ],
)
def test_what_a_pure_module_may_not_own_is_found_however_it_is_written(source: str, thing: str) -> None:
    assert [found.partition(":")[0] for found in owned(ast.parse(source))][:1] == [thing]


@pytest.mark.parametrize(
    "source",
    [
        "from random import Random\ndef f(random: Random) -> float:\n    return random.random()",
        "import numpy as np\ndef f(seed: int) -> object:\n    return np.random.default_rng(seed)",
        "def f(stream, clock):\n    return stream.open(), clock.now()",
        "import datetime\ndatetime.datetime.fromtimestamp(0, datetime.UTC)",
    ],
)
def test_what_is_handed_in_may_be_used(source: str) -> None:
    assert owned(ast.parse(source)) == []


def test_a_part_imports_no_layer_above_it() -> None:
    """The linter judges the modules that stand in a layer; parts are all others; only the disk is below them."""
    found = {module.name: sorted(module.imports() & above(module)) for module in PURE}
    assert {name: names for name, names in found.items() if names} == {}


def above(module: Module) -> set[str]:
    """Modules that stand above a part, or above the core."""
    package = part_of(module)
    assert package is not None
    levels = layers(package)
    top = levels[: levels.index(["core"])] if ["core"] in levels else levels
    names = {f"{package}.{child}" for level in top for child in level}
    if module.child_of(package) != "core":
        names.add(f"{package}.core")
    return {each.name for each in MODULES if any(f"{each.name}.".startswith(f"{name}.") for name in names)}


def test_a_module_begins_with_a_sentence() -> None:
    """It says what the module is for."""
    sentence = re.compile(r"\S.*[.:]", re.DOTALL)
    assert [module.name for module in MODULES if not sentence.match(ast.get_docstring(module.tree()) or "")] == []


def test_modules_and_functions_are_short() -> None:
    """A reader takes in one noun at a time; a function inside another is counted by itself."""
    sizes = {module.name: len(module.path.read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {name: lines for name, lines in sizes.items() if lines > LINES_MAX} == {}
    functions = {f"{module.name}.{name}": lines for module in MODULES for name, lines in function_lines(module.tree())}
    assert {name: lines for name, lines in functions.items() if lines > FUNCTION_LINES_MAX} == {}


def function_lines(tree: ast.Module) -> list[tuple[str, int]]:
    """Every function and the lines of its own."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = sum(lines(each) for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            found.append((node.name, lines(node) - inner))
    return found


def lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_imports_is_declared_for_it(package: str) -> None:
    """An installation of one extra has what that part needs, and asks for nothing that nobody imports."""
    described = project()["project"]
    assert isinstance(described, dict)
    extras = described["optional-dependencies"]
    wanted = {name for extra in EXTRAS[package] for name in map(_import_name, extras[extra])}
    base = set(map(_import_name, described["dependencies"]))
    used = set().union(*(module.foreign() for module in MODULES if module.package == package))
    assert used - wanted - base == set(), "imported and not declared"


def _import_name(requirement: str) -> str:
    distribution = re.split(r"[><=;\[ ]", requirement)[0]
    return IMPORT_NAMES.get(distribution, distribution.replace("-", "_"))


def test_a_file_says_nothing_of_the_machine_it_was_written_on() -> None:
    """An absolute path of a checkout is wrong in every other one."""
    places = {str(CHECKOUT), str(CHECKOUT.parent), str(Path.home() / ".")} - {"/", "/root", "/tmp", "/home"}
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path.relative_to(CHECKOUT)}: {place}" for place in places if f"{place}/" in text]
    assert found == []


def test_every_help_can_be_shown() -> None:
    """`argparse` formats it only when somebody asks, and a lone % sign is then the end of the program."""
    found = []
    for path in (path for path in tracked() if path.suffix == ".py"):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if "help=" in source else ():
            if isinstance(node, ast.keyword) and node.arg == "help" and isinstance(node.value, ast.Constant):
                text = str(node.value.value)
                if re.sub(r"%%|%\((default|prog|type|metavar|dest)\)s", "", text).count("%"):
                    found.append(f"{path.relative_to(CHECKOUT)}:{node.value.lineno}: {text}")
    assert found == []


def test_nothing_is_left_unfinished() -> None:
    """What is missing is an issue, not a remark in the code."""
    words = re.compile("|".join([r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bXX" + r"X\b"]))
    sources = [path for path in tracked() if path.suffix in {".py", ".sh", ".md", ".toml", ".service"}]
    assert [str(path) for path in sources if words.search(path.read_text(encoding="utf-8"))] == []


def test_no_test_is_switched_off() -> None:
    """A test is skipped only for what this machine lacks, and the one helper that says so fails in CI."""
    switched_off = re.compile("|".join([r"mark\.sk" + "ip", r"mark\.x" + "fail", "importor" + "skip", r"\bskip\("]))
    tests = (CHECKOUT / "tests").rglob("*.py")
    assert [path.name for path in tests if switched_off.search(path.read_text(encoding="utf-8"))] == ["lacking.py"]


def test_the_changelog_has_one_line_a_change() -> None:
    """Title, then versions, then lines that begin with whom the change is for."""
    lines = [line for line in (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line]
    assert lines[0] == "# Changelog"
    form = re.compile(
        r"## (unreleased|\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\))|- (everybody|[a-z]+s|cloud team): .+\.|  \S.*|[A-Z].*"
    )
    assert [line for line in lines[1:] if not form.fullmatch(line)] == []
