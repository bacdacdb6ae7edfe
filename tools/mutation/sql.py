"""SQL in strings, changed as its author might have got it wrong: the buffer's rules are written in it.

Law: only the query's own words are changed, one at a time; names of tables and columns and bound values stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

BEGINS: Final = re.compile(
    r"\s*(select|insert|update|delete|create|pragma|begin|commit|rollback|where|and|order by|values)\b", re.IGNORECASE
)
WORDS: Final = (
    (r" and ", " or "),
    (r" or (?!ignore)", " and "),
    (r" or ignore", ""),
    (r" = (?=\?)", " <> "),
    (r" = (?=\d)", " <> "),
    (r" <> ", " = "),
    (r" >= ", " > "),
    (r" > ", " >= "),
    (r" <= ", " < "),
    (r" < ", " <= "),
    (r" order by [\w, ]+?(?= limit|\)|$)", ""),
    (r" (asc|desc)\b", None),
    (r" limit (?=\?)", " limit 1 + "),
    (r" union select [\w ]+", ""),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"(?<=[=<>(,] )\d+\b", None),
    (r" not in ", " in "),
    (r"(?<! not) in ", " not in "),
    (r" is null", " is not null"),
    (r" is not null", " is null"),
)
"""What is found -> what is put in its place; None for what is worked out from what was found."""


def is_sql(text: str) -> bool:
    """Whether a string begins as a query, or as a part of one, does."""
    return " " in text.strip() and BEGINS.match(text) is not None


def other_sql(text: str) -> Iterator[str]:
    """Every version of a query with one word of it wrong."""
    for pattern, new in WORDS:
        for found in re.finditer(pattern, text):
            other = text[: found.start()] + (_other(found.group()) if new is None else new) + text[found.end() :]
            if other != text:
                yield other


def _other(word: str) -> str:
    """The other direction of an order, or the next number."""
    if word.strip() in ("asc", "desc"):
        return " desc" if word.strip() == "asc" else " asc"
    return str(int(word) + 1)
