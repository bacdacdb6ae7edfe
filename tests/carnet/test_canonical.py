"""Canonical JSON: what is encoded parses, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet import canonical
from carnet.errors import FormatError, LocalProtocolError

MAX = 2**53 - 1
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX, MAX) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_a_document_comes_back_from_its_bytes(document: object) -> None:
    """And its bytes are the same again."""
    data = canonical.encode(document)
    assert canonical.parse(data, len(data)) == document


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":2}', "json_duplicate_key"),
        (b'{"b":1,"a":2}', "json_not_canonical"),
        (b'{"a": 1}', "json_not_canonical"),
        (b'{"a":1}\n', "json_not_canonical"),
        (b'"\\u0041"', "json_not_canonical"),
        (b'"\\/"', "json_not_canonical"),
        (b"-0", "json_not_canonical"),
        (b"1.0", "json_number"),
        (b"1e3", "json_number"),
        (b"NaN", "json_number"),
        (b"-Infinity", "json_number"),
        (b"9007199254740992", "json_number"),
        (b"-9007199254740992", "json_number"),
        (b"9" * 4900, "json_number"),
        (b"", "json_malformed"),
        (b"{", "json_malformed"),
        (b"[1]]", "json_malformed"),
        (b'"\xff"', "json_malformed"),
        (b'"\\ud800"', "json_malformed"),
        (b"\xef\xbb\xbf1", "json_malformed"),
        (b"[" * 17 + b"]" * 17, "json_malformed"),
        (b"[" * 2000 + b"]" * 2000, "json_malformed"),
        (b'"' + b"x" * 5000 + b'"', "json_size"),
    ],
)
def test_any_other_bytes_are_refused(data: bytes, reason: str) -> None:
    """Each fault with its reason, deep nesting and long numbers without cost."""
    with pytest.raises(FormatError) as refusal:
        canonical.parse(data, 5000)
    assert refusal.value.reason == reason


@pytest.mark.parametrize("value", [1.0, float("nan"), MAX + 1, {1: 2}, b"bytes", {"a": {1, 2}}, "\ud800"])
def test_what_canonical_json_cannot_say_is_the_callers_fault(value: object) -> None:
    """Nothing is rounded or turned into text silently."""
    with pytest.raises(LocalProtocolError) as fault:
        canonical.encode(value)
    assert fault.value.reason == "not_canonical"


def test_sixteen_levels_are_allowed() -> None:
    """The bound itself passes."""
    data = b"[" * 16 + b"]" * 16
    assert canonical.encode(canonical.parse(data, 100)) == data
