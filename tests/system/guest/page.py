"""docs/installation.md as a program: the commands and configuration files of its sections, as they are typed."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "installation.md"
BENCH = "A bench on one machine"


def section(heading: str) -> str:
    """What stands below a heading of the page; its number may be left out."""
    parts = re.split(r"^## (?:\d+\. )?(.+)\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading]


def blocks(text: str) -> list[tuple[str, str]]:
    """(kind, text) of each block; what is to be typed has no kind."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(heading: str) -> list[str]:
    """The blocks to type in a section, in their order."""
    return [text for kind, text in blocks(section(heading)) if not kind]


def configurations(text: str) -> dict[Path, str]:
    """The configuration files in a text; the first line of each is a comment with its path."""
    files = [block for kind, block in blocks(text) if kind == "toml"]
    return {Path(file.splitlines()[0].removeprefix("# ")): file for file in files}


def installed() -> dict[Path, str]:
    """Those of a car and its cloud."""
    return configurations(PAGE.read_text().partition(f"## {BENCH}\n")[0])


def bench() -> dict[Path, str]:
    """Those of the bench."""
    return configurations(section(BENCH))
