"""The tables of metrics in the document, and what a program tells of its own: the two must be the same."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "operations.md"
ROW = re.compile(r"^\| `(\w+)`(?: by `([\w`, ]+)`)? \| (\w+) \| (.+?) \| .+ \|$", re.MULTILINE)


def described(heading: str) -> dict[str, tuple[str, str]]:
    """Name -> (kind, meaning) of the table under a heading."""
    part = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return {name: (kind, meaning) for name, _, kind, meaning in ROW.findall(part)}


def told(text: str, prefix: str) -> dict[str, tuple[str, str]]:
    """The same of a text in Prometheus' format."""
    found = [each for each in text_string_to_metric_families(text) if each.name.startswith(prefix)]
    return {each.name + ("_total" if each.type == "counter" else ""): (each.type, each.documentation) for each in found}
