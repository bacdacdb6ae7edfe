"""Every figure that we state has a command beside it, and the commands that are cheap still work."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT

BENCHES = sorted(path.name for path in (CHECKOUT / "bench").glob("*.py"))
DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"
CHEAP = ("onwire.py", "withdraw.py")
"""Those that need no broker, no tracer, no other environment and no captures."""


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_stands_in_the_document_with_its_command(name: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"`bench/{name}" in text
    command = f"python bench/{name}"
    assert command in text
    assert command in (CHECKOUT / "bench" / name).read_text(encoding="utf-8").split('"""')[1]


def test_the_document_names_no_bench_that_is_not_there() -> None:
    words = DOCUMENT.read_text(encoding="utf-8").replace("`", " ").split()
    named = {word.removeprefix("bench/") for word in words if word.startswith("bench/") and word.endswith(".py")}
    assert {name for name in named if "/" not in name} == set(BENCHES)


@pytest.mark.parametrize("name", CHEAP)
def test_a_cheap_bench_ends_with_one_line_of_json(name: str) -> None:
    done = subprocess.run(
        [sys.executable, CHECKOUT / "bench" / name, "--quick"],
        check=True, capture_output=True, text=True, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["bench"] == name.removesuffix(".py")
