"""Compression: bounded by what the receiver allows, not by what the frame claims."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet.compression import compress, inflate
from carnet.errors import FormatError

BOMB = compress(bytes(100_000_000))


@given(st.binary(max_size=500))
def test_what_was_compressed_comes_back(data: bytes) -> None:
    """Empty included, at exactly its own bound."""
    assert inflate(compress(data), len(data)) == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "frame_malformed"),
        (b"no frame", "frame_malformed"),
        (compress(b"x" * 50)[:-1], "frame_malformed"),
        (compress(b"x" * 50) + b"\0", "frame_trailing"),
        (compress(b"x" * 50) * 2, "frame_trailing"),
        (compress(b"x" * 101), "frame_too_large"),
        (BOMB, "frame_malformed"),
    ],
)
def test_anything_else_is_refused(data: bytes, reason: str) -> None:
    """Each with its reason."""
    with pytest.raises(FormatError) as refusal:
        inflate(data, 100)
    assert refusal.value.reason == reason


def test_a_bomb_costs_no_memory() -> None:
    """A hundred million zeros in a few kilobytes."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            inflate(BOMB)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
