"""Writes the state table and diagram of ``docs/consent.md`` from the code, and reads its other tables, for the tests.

Run ``python -m tests.carnet.consent_tables`` after a change of `carnet.states`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from carnet.states import ACTORS, TRANSITIONS, EventKind, State

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "consent.md"
MODULES = (
    "canonical",
    "jws",
    "ownerkeys",
    "refusals",
    "transforms",
    "offers",
    "records",
    "recordevents",
    "grants",
    "grantsets",
    "seen",
)
_BEGIN, _END = "<!-- states: written by tests/carnet/consent_tables.py -->\n", "<!-- end -->\n"
_RAISERS = {"ConsentError", "FormatError", "SignatureError", "refused_as"}
_MEMBERS = {"base64url", "body_malformed", "id_malformed", "path_malformed"}
"""Reasons of the readers of single members, which become the document's own."""


def states_section() -> str:
    """The diagram and the table, as they stand between the page's marks."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> requested"]
    lines += [f"    {state} --> {after}: {kind}" for (state, kind), after in TRANSITIONS.items()]
    left = {state for state, _ in TRANSITIONS}
    lines += [f"    {state} --> [*]" for state in State if state not in left]
    lines += ["```", "", "| event | by | " + " | ".join(_rows()) + " |", "|---" * (2 + len(_rows())) + "|"]
    for kind in EventKind:
        after = [TRANSITIONS.get((state, kind)) for state in _rows()]
        lines.append(
            f"| {kind} | {ACTORS[kind]} | " + " | ".join(state.value if state else "" for state in after) + " |"
        )
    return "\n".join(lines) + "\n"


def _rows() -> list[State]:
    """The states that anything leads out of."""
    return [state for state in State if any(state is before for before, _ in TRANSITIONS)]


def page_with(section: str) -> str:
    """The page with this section between its marks."""
    head, rest = PAGE.read_text().split(_BEGIN)
    return head + _BEGIN + section + _END + rest.split(_END, 1)[1]


def documented_reasons() -> list[str]:
    """The first column of the table of refusals."""
    table = PAGE.read_text().split("\n## Refusals\n")[1]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [reason for row in rows for reason in re.findall(r"`([a-z0-9_]+)`", row)]


def raised_reasons() -> set[str]:
    """Every reason that the modules of consent can refuse for: first arguments of the calls that refuse."""
    found: set[str] = set()
    for module in MODULES:
        for node in ast.walk(ast.parse((ROOT / "carnet" / f"{module}.py").read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=reason), *_]) if name in _RAISERS:
                    found.add(str(reason))
    return found - _MEMBERS


if __name__ == "__main__":
    PAGE.write_text(page_with(states_section()))
