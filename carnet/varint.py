"""Unsigned numbers in as few bytes as they need: seven bits a byte, lowest first, the top bit says that more follows.

Law: a number has one encoding; one that is longer than it needs to be, or above 64 bits, is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carnet.errors import FormatError

_BITS_MAX = 64
_BYTES_MAX = 10
_SHIFTS = np.arange(0, 7 * _BYTES_MAX, 7, dtype=np.uint64)


def encode_one(number: int) -> bytes:
    """One number of at most 64 bits."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(numbers: NDArray[np.uint64]) -> bytes:
    """The numbers one after the other."""
    groups = numbers[:, np.newaxis] >> _SHIFTS
    octets = (groups & np.uint64(0x7F)).astype(np.uint8)
    is_used = groups != 0
    is_used[:, 0] = True
    octets[:, :-1] |= is_used[:, 1:].view(np.uint8) << 7
    found: bytes = octets[is_used].tobytes()
    return found


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


def end(data: bytes, at: int, count: int) -> int:
    """The offset behind ``count`` numbers; FormatError ``varint_malformed`` if there are fewer."""
    if len(data) >= at + count and data[at : at + count].isascii():
        return at + count
    window = np.frombuffer(data, np.uint8, offset=at, count=min(len(data) - at, count * _BYTES_MAX))
    ends = (window < 0x80).nonzero()[0]
    if len(ends) < count:
        raise FormatError("varint_malformed", "there are fewer numbers than there should be")
    return at + int(ends[count - 1]) + 1


def decode(data: bytes) -> NDArray[np.uint64]:
    """All numbers in ``data``; FormatError ``varint_malformed``."""
    octets = np.frombuffer(data, np.uint8)
    if data.isascii():
        return octets.astype(np.uint64)
    ends = (octets < 0x80).nonzero()[0]
    if data[-1] > 0x7F:
        raise FormatError("varint_malformed", "a number is cut off")
    starts = np.zeros(len(ends), np.int64)
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    last = octets[ends]
    too_big = (lengths > _BYTES_MAX) | ((lengths == _BYTES_MAX) & (last > 1))
    if (too_big | ((last == 0) & (lengths > 1))).any():
        raise FormatError("varint_malformed", "a number has more bytes or bits than it may")
    places = np.arange(len(octets)) - np.repeat(starts, lengths)
    shifted = (octets & np.uint8(0x7F)).astype(np.uint64) << (places * 7).astype(np.uint64)
    return np.bitwise_or.reduceat(shifted, starts)
