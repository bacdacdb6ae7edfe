"""Take a DBC text apart that the parser refuses as a whole, and keep every message and signal that parses alone.

Law: a statement is kept or named as a loss with its line and the parser's reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from carnet_agent.dbc.database import Loss

Parser = Callable[[str], list[Any]]
"""Parses DBC text into messages; raises anything when it refuses."""

REASON_CHARS_MAX = 160
STATEMENT = re.compile(
    r"\s*(BO_|SG_|CM_|BA_DEF_DEF_|BA_DEF_|BA_|VAL_TABLE_|VAL_|SIG_VALTYPE_|SG_MUL_VAL_|SIG_GROUP_|BO_TX_BU_"
    r"|EV_|ENVVAR_DATA_|BA_DEF_REL_|BA_REL_|BA_DEF_DEF_REL_|BU_|BS_|NS_|VERSION)\s*[:\s]\s*\S"
)
MESSAGE = re.compile(r"\s*BO_\s+(\d+)")
# Statements that change what a signal means, each with the message's identifier behind the keyword (and attribute).
MEANING = re.compile(r'\s*(?:VAL_|SIG_VALTYPE_|SG_MUL_VAL_|BA_\s+"[^"]*"\s+(?:BO_|SG_))\s+(\d+)\s')
DEFINITION = re.compile(r"\s*(?:BA_DEF_|BA_DEF_DEF_)\s")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as it stands in the file."""

    line: int
    text: str

    @property
    def title(self) -> str:
        """Its first words, to name it in a sentence."""
        words = " ".join(self.text.split()[:3]).rstrip(": ") or "a statement without words"
        return words if len(words) <= REASON_CHARS_MAX else words[:REASON_CHARS_MAX] + "…"


def salvage(text: str, parse: Parser) -> tuple[list[Any], list[Loss]]:
    """The messages that parse one by one, and every statement that was given up."""
    blocks: list[list[Statement]] = []
    # by the digits of the identifier: a number of thousands of them is none that Python reads
    meanings: dict[str, list[Statement]] = {}
    others: list[Statement] = []
    for statement in split(text):
        if MESSAGE.match(statement.text):
            blocks.append([statement])
        elif statement.text.lstrip().startswith("SG_ ") and blocks:
            blocks[-1].append(statement)
        elif found := MEANING.match(statement.text):
            meanings.setdefault(found[1].lstrip("0"), []).append(statement)
        else:
            others.append(statement)
    losses = [_loss(statement, reason) for statement, reason in _faulty(others, parse)]
    lost = {loss.line for loss in losses}
    definitions = [item for item in others if DEFINITION.match(item.text) and item.line not in lost]
    messages = []
    for block in blocks:
        found = MESSAGE.match(block[0].text)
        extras = meanings.pop(found[1].lstrip("0"), []) if found else []
        messages += _one_message(block, definitions, extras, parse, losses)
    for orphans in meanings.values():
        losses += [_loss(orphan, "names a message that is not defined") for orphan in orphans]
    return messages, losses


def split(text: str) -> list[Statement]:
    """The text cut where a line begins with a keyword outside a quoted string.

    A line that opens a message always begins a statement: a quote that is never closed costs one statement only.
    """
    statements: list[Statement] = []
    lines: list[str] = []
    first = 1
    quoted = False
    for number, line in enumerate(text.split("\n"), 1):
        if (not quoted and STATEMENT.match(line)) or re.match(r"BO_\s+\d+\s+\w+\s*:", line):
            if lines:
                statements.append(Statement(first, "\n".join(lines)))
            lines, first, quoted = [], number, False
        lines.append(line)
        if line.replace('\\"', "").count('"') % 2:
            quoted = not quoted
    statements.append(Statement(first, "\n".join(lines)))
    return statements


def reason_of(error: BaseException) -> str:
    """The parser's complaint as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"^DBC: \"?", "", text)
    # The parser counts lines inside the piece it was given; the loss names the line in the file.
    text = re.sub(r" at line \d+, column \d+", "", text)
    text = "".join(each if each.isprintable() else "?" for each in text)
    return text if len(text) <= REASON_CHARS_MAX else text[:REASON_CHARS_MAX] + "…"


def _loss(statement: Statement, reason: str) -> Loss:
    return Loss(statement.line, statement.title, reason)


def _refusal(statements: Sequence[Statement], parse: Parser) -> str:
    """Why the parser refuses these statements together, or nothing."""
    try:
        parse("\n".join(statement.text for statement in statements))
    except Exception as error:  # noqa: BLE001  cantools raises many unrelated types
        return reason_of(error)
    return ""


def _faulty(statements: Sequence[Statement], parse: Parser) -> list[tuple[Statement, str]]:
    """The statements that do not parse, found by halving."""
    reason = _refusal(statements, parse) if statements else ""
    if not reason:
        return []
    if len(statements) == 1:
        return [(statements[0], reason)]
    half = len(statements) // 2
    return _faulty(statements[:half], parse) + _faulty(statements[half:], parse)


def _one_message(
    block: Sequence[Statement],
    definitions: Sequence[Statement],
    extras: Sequence[Statement],
    parse: Parser,
    losses: list[Loss],
) -> list[Any]:
    """The message of this block with as many of its signals and extras as parse: none or one."""
    everything = [*definitions, *block, *extras]
    if not _refusal(everything, parse):
        return parse("\n".join(item.text for item in everything))
    kept = [*definitions, block[0]]
    if reason := _refusal(kept, parse):
        losses.append(_loss(block[0], reason))
        return []
    for statement in [*block[1:], *extras]:
        reason = _refusal([*kept, statement], parse)
        if reason:
            losses.append(_loss(statement, reason))
        else:
            kept.append(statement)
    return parse("\n".join(item.text for item in kept))
