"""A refused configuration in one sentence: which key, and what about it, in the words of our documents."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

UNKNOWN: Final = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
"""How the validator calls a key that no section has."""
ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
WORDS: Final[Mapping[str, str]] = {
    "missing": "this key is missing",
    "union_tag_not_found": "{discriminator}: this key is missing",
    "union_tag_invalid": "{discriminator}: write one of {expected_tags}",
    "literal_error": "write one of {expected}",
    "enum": "write one of {expected}",
    "int_type": "write a whole number, without quotes",
    "int_from_float": "write a whole number",
    "float_type": "write a number, without quotes",
    "string_type": "write a text in quotes",
    "path_type": "write a path in quotes",
    "bool_type": "write true or false, without quotes",
    "tuple_type": 'write a list, as ["one", "two"]',
    "list_type": 'write a list, as ["one", "two"]',
    "dict_type": "this is a table",
    "model_type": "this is a table",
    "model_attributes_type": "this is a table",
    "dataclass_type": "this is a table",
    "too_short": "name at least {min_length}",
    "string_too_short": "write at least {min_length} character",
    "greater_than_equal": "write {ge} or more",
    "less_than_equal": "write {le} or less",
}
"""The validator's kinds of error in words of ours; what is not here is told in its own."""


def sentence(
    errors: Sequence[Mapping[str, Any]], kinds: Collection[str] = (), forms: Mapping[str, str] | None = None
) -> str:
    """The first of pydantic's errors (dictionaries with ``type``, ``loc``, ``msg``, ``ctx``) as ``key: what is wrong``.

    An unknown key goes first: it is the misspelling because of which another one is missing. ``kinds``: of tables of
    which there are several, which the validator names as if they were keys; ``forms``: patterns in words.
    """
    first = next((each for each in errors if each["type"] in UNKNOWN), errors[0])
    where = _where(first["loc"], kinds)
    words = _words(first, forms or {})
    return f"{where}: {words}" if where else words


def _words(error: Mapping[str, Any], forms: Mapping[str, str]) -> str:
    if error["type"] in UNKNOWN:
        return "there is no such key"
    context = {name: str(value) for name, value in error.get("ctx", {}).items()}
    if error["type"] == "string_pattern_mismatch" and context["pattern"] in forms:
        return f"write {forms[context['pattern']]}"
    if error["type"] in WORDS:
        return WORDS[error["type"]].format_map(
            {**context, "discriminator": context.get("discriminator", "").strip("'")}
        )
    return str(error["msg"]).removeprefix("Value error, ")


def _where(loc: Sequence[int | str], kinds: Collection[str] = ()) -> str:
    """``table.key``; a table of which there are several, and a value of a list, by its number."""
    if len(loc) > 1 and isinstance(loc[1], int):
        inside = _where(loc[3:] if loc[2:3] and loc[2] in kinds else loc[2:])
        return f"{_ordinal(loc[1])} [[{loc[0]}]]" + (f", {inside}" if inside else "")
    keys = [str(part) for part in loc if not isinstance(part, int)]
    numbers = [part for part in loc if isinstance(part, int)]
    return ".".join(keys) + "".join(f", {_ordinal(number)} value" for number in numbers)


def _ordinal(number: int) -> str:
    return ORDINALS[number] if number < len(ORDINALS) else f"{number + 1}th"
