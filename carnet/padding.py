"""Padmé padding of a plaintext: a box's size tells at most the order of magnitude of what is in it.

Law: a plaintext has one padded form; the receiver works the length out again and refuses every other.
"""

from __future__ import annotations

from typing import Final

from carnet.errors import OpenError

LENGTH_MIN: Final = 256
_MARK: Final = b"\x80"


def padded_length(length: int) -> int:
    """The length to which ``length`` bytes are padded: at least 256, above that at most 12 % more."""
    if length < LENGTH_MIN:
        return LENGTH_MIN
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def is_padded_length(length: int) -> bool:
    """Whether a padded plaintext can have this length."""
    return length >= LENGTH_MIN and padded_length(length) == length


def pad(plain: bytes) -> bytes:
    """``plain``, one byte 0x80, and zeros up to the padded length."""
    return (plain + _MARK).ljust(padded_length(len(plain) + 1), b"\0")


def unpad(padded: bytes) -> bytes:
    """The plaintext in ``padded``; OpenError ``padding_wrong`` if `pad` would not have made exactly these bytes."""
    marked = padded.rstrip(b"\0")
    if not marked.endswith(_MARK) or padded_length(len(marked)) != len(padded):
        raise OpenError("padding_wrong", "the padding of a box is not the one its content must have")
    return marked[:-1]
