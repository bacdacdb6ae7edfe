"""Canonical JSON: one sequence of bytes for one document, so that it can be signed, hashed and compared.

UTF-8, keys sorted by code point, no white space, no floats, integers within ±(2^53 - 1), no key twice, at most
`DEPTH_MAX` levels. Law: `parse` accepts exactly the bytes that `encode` makes.
"""

from __future__ import annotations

import json
from typing import Final, NoReturn

from carnet.errors import FormatError, LocalProtocolError
from carnet.limits import NUMBER_MAX

DEPTH_MAX: Final = 16
_DIGITS_MAX: Final = len(str(-NUMBER_MAX))


def encode(value: object) -> bytes:
    """The bytes of a document made of dict, list, tuple, str, int, bool and None.

    LocalProtocolError ``not_canonical`` for anything that canonical JSON cannot say.
    """
    _check(value, DEPTH_MAX)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError("not_canonical", "a text holds half a surrogate pair") from None


def parse(data: bytes, size_max: int) -> object:
    """The document in ``data``, of at most ``size_max`` bytes.

    FormatError ``json_size``, ``json_malformed`` (not JSON, or too deep), ``json_duplicate_key``, ``json_number`` (a
    float or too large) or ``json_not_canonical`` (the same document has other bytes).
    """
    if len(data) > size_max:
        raise FormatError("json_size", f"a document has more than {size_max} bytes")
    try:
        value: object = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except (ValueError, RecursionError):
        raise FormatError("json_malformed", "a document is not JSON in UTF-8") from None
    try:
        canonical = encode(value)
    except LocalProtocolError as error:
        raise FormatError("json_malformed", str(error)) from None
    if canonical != data:
        raise FormatError("json_not_canonical", "a document is JSON but not in its canonical form")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("json_duplicate_key", "a document holds a key twice")
    return found


def _integer(text: str) -> int:
    # the length first: converting a million digits takes seconds
    if len(text) > _DIGITS_MAX or abs(int(text)) > NUMBER_MAX:
        raise FormatError("json_number", "a document holds an integer of 2^53 or more")
    return int(text)


def _no_float(_text: str) -> NoReturn:
    raise FormatError("json_number", "a document holds a number that is not an integer")


def _check(value: object, depth: int) -> None:
    """Refuse what JSON cannot say or could say in two ways; ``depth`` is how many levels may follow."""
    if value is None or isinstance(value, (bool, str)):
        return
    if isinstance(value, int):
        if abs(value) > NUMBER_MAX:
            raise LocalProtocolError("not_canonical", "an integer is 2^53 or more")
        return
    if depth == 0:
        raise LocalProtocolError("not_canonical", f"a document has more than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise LocalProtocolError("not_canonical", "a key is not text")
        for item in value.values():
            _check(item, depth - 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(item, depth - 1)
    else:
        raise LocalProtocolError("not_canonical", f"canonical JSON has no {type(value).__name__}")
