"""A refused configuration in one sentence: which key, and what about it, in the words of our documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

UNKNOWN: Final = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
"""How the validator calls a key that no section has."""


def sentence(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first of pydantic's errors (dictionaries with ``type``, ``loc``, ``msg``) as ``key: what is wrong``.

    An unknown key goes first: it is the misspelling because of which another one is missing.
    """
    first = next((each for each in errors if each["type"] in UNKNOWN), errors[0])
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] in UNKNOWN:
        return f"{where}: there is no such key"
    if first["type"] == "missing":
        return f"{where}: this key is missing"
    words = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {words}" if where else words
