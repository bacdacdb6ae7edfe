"""Unsigned numbers in as few bytes as they need: seven bits a byte, lowest first, the top bit says that more follows.

Law: a number has one encoding; one that is longer than it needs to be, or above 64 bits, is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from carnet.errors import FormatError

_BITS_MAX = 64
_BYTES_MAX = 10


def encode_one(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(numbers: Iterable[int] | NDArray[np.uint64]) -> bytes:
    values = numbers.tolist() if isinstance(numbers, np.ndarray) else numbers
    return b"".join(encode_one(number) for number in values)


def decode_one(data: bytes, at: int) -> tuple[int, int]:
    """(number, offset behind it); FormatError ``varint_malformed``."""
    number = shift = 0
    while True:
        if at >= len(data) or shift >= _BITS_MAX:
            raise FormatError("varint_malformed", "a number is cut off or too long")
        octet = data[at]
        at += 1
        number |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            break
    if number >> _BITS_MAX or (octet == 0 and shift > 7):
        raise FormatError("varint_malformed", "a number has more bytes or bits than it may")
    return number, at


def decode(data: bytes, at: int, count: int) -> tuple[NDArray[np.uint64], int]:
    """``count`` numbers and the offset behind them; FormatError ``varint_malformed``."""
    window = np.frombuffer(data, np.uint8, offset=at, count=min(len(data) - at, count * _BYTES_MAX))
    ends = (window < 0x80).nonzero()[0][:count]
    if len(ends) < count:
        raise FormatError("varint_malformed", "there are fewer numbers than there should be")
    if count == 0:
        return np.zeros(0, np.uint64), at
    lengths = np.diff(ends, prepend=-1)
    octets = window[: ends[-1] + 1]
    place = np.arange(len(octets)) - np.repeat(ends - lengths + 1, lengths)
    last = octets[ends]
    too_big = (lengths > _BYTES_MAX) | ((lengths == _BYTES_MAX) & (last > 1))
    if too_big.any() or ((last == 0) & (lengths > 1)).any():
        raise FormatError("varint_malformed", "a number has more bytes or bits than it may")
    shifted = (octets & np.uint8(0x7F)).astype(np.uint64) << (place * 7).astype(np.uint64)
    return np.bitwise_or.reduceat(shifted, ends - lengths + 1), at + len(octets)
