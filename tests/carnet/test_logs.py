"""One line an event: for people, for the journal, for machines; nothing of what an error carried with it."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from carnet.logs import Lines, told
from tests.conftest import CHECKOUT

SOURCES = [
    path
    for folder in ("carnet", "agent/carnet_agent", "cloud/carnet_cloud")
    for path in sorted((CHECKOUT / folder).rglob("*.py"))
]
VIN = "WCARNETMARKZQXJVK"


def record(text: str, *values: object, level: int = logging.WARNING, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("carnet.cloud", level, "", 0, text, values, None)
    vars(made).update(more)
    made.created, made.msecs = 1_764_315_897.25, 250.0
    return made


def failed() -> logging.LogRecord:
    """As a library logs an error that it caught; the error's words and values are anybody's."""
    made = record("Exception in ASGI application\n")
    try:
        dict[str, int]()[VIN]
    except KeyError:
        made.exc_info = sys.exc_info()
    return made


def test_text_is_one_line_with_its_priority() -> None:
    """A line break in a sentence cannot make a second entry of the journal."""
    assert Lines(priorities=True).format(record("one\ntwo %s", "three")) == "<4>one two three"
    assert Lines().format(record("one\ntwo %s", "three")) == "one two three"


def test_json_is_one_object_a_line() -> None:
    line = Lines("json").format(record("start: %d\nof %s", 3, "ü", **told("start", "fresh", narrowings=3, endings=0)))
    assert "\n" not in line and line.isascii()
    assert json.loads(line) == {
        "time": "2025-11-28T07:44:57.250Z", "level": "warning", "event": "start", "reason": "fresh", "narrowings": 3,
        "endings": 0, "message": "start: 3 of ü",
    }  # fmt: skip
    assert Lines("json", priorities=True).format(record("x", level=logging.INFO)).startswith('<6>{"time"')


def test_what_a_library_says_has_the_same_form() -> None:
    assert json.loads(Lines("json").format(record("hello")))["event"] == "carnet_cloud"


@pytest.mark.parametrize("form", ["text", "json"])
def test_of_an_error_only_kind_and_place_are_told(form: Any) -> None:
    line = Lines(form).format(failed())
    assert VIN not in line and "Traceback" not in line
    assert re.search(r"KeyError at test_logs\.py:\d+", line)


def test_a_record_that_cannot_be_made_into_a_line_shows_nothing_of_its_arguments() -> None:
    script = f"from carnet import logs; logs.start('json'); import logging; logging.warning('%d', {VIN!r})"
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=False, capture_output=True, text=True)
    assert VIN not in done.stderr + done.stdout


@pytest.mark.parametrize(("journal", "begin"), [("8:1", "<4>"), ("", "")])
def test_priorities_are_for_the_journal(journal: str, begin: str) -> None:
    script = "from carnet import logs; logs.start(); import logging; logging.warning('full')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, check=True, capture_output=True, text=True,
        env={**os.environ, "JOURNAL_STREAM": journal},
    )  # fmt: skip
    assert done.stderr == f"{begin}full\n"


def events() -> set[str]:
    """Every name that a source gives to an event."""
    found: set[str] = set()
    for path in SOURCES:
        for call in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
            if isinstance(call, ast.Call) and name in {"told", "Note"}:
                at = 0 if name == "told" else 2
                found |= {str(n.value) for n in ast.walk(call.args[at]) if isinstance(n, ast.Constant) and n.value}
    for path in SOURCES:
        found |= set(re.findall(r'\(logging\.\w+, "(\w+)"\)', path.read_text()))
    return found


def test_every_line_of_ours_names_its_event_and_the_document_lists_it() -> None:
    calls = [(path, call) for path in SOURCES for call in ast.walk(ast.parse(path.read_text()))]
    silent = [
        f"{path.name}:{call.lineno}"
        for path, call in calls
        if isinstance(call, ast.Call)
        and re.fullmatch(r"log\.(info|warning|error|log)", ast.unparse(call.func))
        and "extra" not in {keyword.arg for keyword in call.keywords}
    ]
    assert silent == []
    text = (CHECKOUT / "docs" / "operations.md").read_text().partition("\n## Logs\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == events()
