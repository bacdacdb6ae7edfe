"""Padding: one form per plaintext, few sizes, little waste."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.errors import OpenError
from carnet.padding import is_padded_length, pad, padded_length, unpad


@given(st.binary(max_size=2000))
def test_a_plaintext_comes_back_from_its_padding(plain: bytes) -> None:
    """Also one that itself ends in zeros or in the mark."""
    for each in (plain, plain + b"\0" * 3, plain + b"\x80"):
        assert unpad(pad(each)) == each


def test_padding_costs_little_and_shows_few_sizes() -> None:
    """At most 12 % over 256 bytes, fewer than 200 lengths below 256 KiB, never shorter,
    padded lengths stay as they are.
    """
    lengths = [padded_length(n) for n in range(1, 262_144)]
    assert all(padded >= n for n, padded in enumerate(lengths, 1))
    assert max(padded / n for n, padded in enumerate(lengths, 1) if n >= 256) < 1.12
    assert len(set(lengths)) < 200
    assert all(is_padded_length(padded) for padded in set(lengths))
    assert not is_padded_length(255) and not is_padded_length(257) and not is_padded_length(-1)


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        bytes(256),
        b"x" * 256,
        b"x" + b"\x80" + bytes(253),
        b"x" + b"\x80" + bytes(270),
        pad(b"x" * 300)[:-1],
        b"\x80",
    ],
)
def test_any_other_padding_is_refused(padded: bytes) -> None:
    """Without mark, too short, too long, cut off."""
    with pytest.raises(OpenError) as refusal:
        unpad(padded)
    assert refusal.value.reason == "padding_wrong"


def test_nothing_but_zeros_follows_the_mark() -> None:
    """Whichever byte somebody puts there, first or last, but a second mark: that is another plaintext's padding."""
    padded = pad(b"x")
    for byte in {*range(1, 256)} - {0x80}:
        for wrong in (padded[:-1] + bytes([byte]), padded[:2] + bytes([byte]) + padded[3:]):
            with pytest.raises(OpenError) as refusal:
                unpad(wrong)
            assert refusal.value.reason == "padding_wrong"
