"""Ids: one thing has one text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet import ids
from carnet.errors import FormatError, LocalProtocolError


@given(st.binary(min_size=16, max_size=16))
def test_a_device_text_comes_back_as_its_bytes(device: bytes) -> None:
    """26 characters, lower case, and back."""
    text = ids.device_text(device)
    assert len(text) == 26 and text == text.lower()
    assert ids.device_bytes(text) == device


@given(st.sampled_from(ids.PREFIXES), st.binary(min_size=10, max_size=10))
def test_an_id_comes_back_as_its_bytes(prefix: str, value: bytes) -> None:
    """Prefix and 16 characters, and back."""
    text = ids.format_id(prefix, value)
    assert len(text) == 20 and ids.parse_id(text, prefix) == value


def test_a_new_id_is_made_of_the_randomness_handed_in() -> None:
    """No random source of its own."""
    assert ids.new_id(ids.RECORD, lambda size: b"\x07" * size) == ids.format_id(ids.RECORD, b"\x07" * 10)


@pytest.mark.parametrize(
    "text", ["", "a" * 25, "a" * 27, "A" * 26, "a" * 25 + "1", "a" * 25 + "b", "a" * 26 + "\n", "ı" * 26]
)
def test_a_device_text_that_we_would_not_write_is_refused(text: str) -> None:
    """Length, case, alphabet, the two spare bits of the last character, a trailing line feed."""
    with pytest.raises(FormatError, match="26") as refusal:
        ids.device_bytes(text)
    assert refusal.value.reason == "id_malformed"


@pytest.mark.parametrize(
    "text", ["", "rec_", "rec_" + "a" * 15, "off_" + "a" * 16, "rec_" + "A" * 16, "rec_" + "a" * 16 + "\n"]
)
def test_an_id_of_another_kind_or_form_is_refused(text: str) -> None:
    """An offer's id is no record's id."""
    with pytest.raises(FormatError):
        ids.parse_id(text, ids.RECORD)


def test_wrong_lengths_are_the_callers_fault() -> None:
    """LocalProtocolError, not FormatError: nothing came from outside."""
    with pytest.raises(LocalProtocolError):
        ids.device_text(b"short")
    with pytest.raises(LocalProtocolError):
        ids.format_id(ids.OFFER, b"short")
    with pytest.raises(LocalProtocolError):
        ids.format_id("xyz_", b"0123456789")
