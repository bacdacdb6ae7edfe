"""Documents name every command, option and target that there is, and none that there is not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.layout import layers
from tests.test_exit_codes import PROGRAMS

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
CODE = re.compile(r"^```\w*\n(.*?)^```$|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
CALL = re.compile(r"\b(carnet(?:-agent|-cloud|-sim| owner| recipient) [a-z]+)\b")
COMMAND = re.compile(r"^    ([a-z]+)(?: |$)", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
GROUPS = {"carnet owner", "carnet recipient"}
"""What is followed by a command of its own."""


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The help of a command line."""
    with pytest.raises(SystemExit) as left:
        PROGRAMS[words[0]]([*words[1:], "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


def commands(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Every command of every program, as it is typed."""
    found = {f"{program} {name}" for program in PROGRAMS for name in COMMAND.findall(told([program], capsys))}
    below = {f"{group} {name}" for group in GROUPS for name in COMMAND.findall(told(group.split(), capsys))}
    return found | below


def test_the_readme_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """In the table, in the row of its program."""
    named = set()
    for row in README.partition("\n## The commands\n")[2].partition("\n## ")[0].splitlines():
        first, *others = SPAN.findall(row) or [""]
        call = re.match(r"(carnet owner|carnet recipient|[a-z-]+) ([a-z]+)", first)
        if call is not None:
            named |= {f"{call[1]} {name.split()[0]}" for name in (call[2], *others)}
    assert commands(capsys) - GROUPS <= named


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_types_is_one(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = commands(capsys)
    code = "\n".join(block or span for block, span in CODE.findall(document.read_text(encoding="utf-8")))
    assert set(CALL.findall(code)) - known == set()


@pytest.mark.parametrize(
    ("document", "command"),
    [
        ("decode.md", "carnet-agent decode"),
        ("decode.md", "carnet-agent frames"),
        ("simulator.md", "carnet-sim drive"),
        ("simulator.md", "carnet-sim replay"),
        ("simulator.md", "carnet-sim broker"),
        ("simulator.md", "carnet-sim demo"),
        ("ledger.md", "carnet verify"),
        ("sealed-format.md", "carnet recipient keygen"),
        ("sealed-format.md", "carnet recipient open"),
    ],
)
def test_the_document_of_a_command_has_each_of_its_options(
    document: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = set(OPTION.findall(told(command.split(), capsys))) - {"--help"}
    assert options - set(OPTION.findall((CHECKOUT / "docs" / document).read_text(encoding="utf-8"))) == set()


def test_make_help_names_every_target() -> None:
    targets = re.search(r"^\.PHONY: (.+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    # Below `make test` a make of its own would say into which folder it goes.
    command = ["make", "--no-print-directory", "help"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=CHECKOUT).stdout
    assert {line.split("\t")[0] for line in said.splitlines()} == {
        name for name in targets[1].split() if not name.endswith("-set")
    }


def test_the_architecture_names_what_of_the_common_part_is_not_pure() -> None:
    """The layers of the project say which modules may own a file, a socket or a log."""
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sentence = text.partition("it is pure but for ")[2].partition(". `carnet_agent`")[0]
    owners = {f"carnet.{name}" for layer in layers("carnet") for name in layer}
    assert set(re.findall(r"`([\w.]+)`", sentence)) == owners
