"""Rice coding of many small numbers at once: a quotient in unary, a remainder in k bits, each in a section of its own.

A number v under k is the quotient v >> k, written as that many zero bits and a one, and the k low bits of v. All
remainders stand in one section, all quotients in another, most significant bit first, filled up with zero bits to whole
bytes. Law: `read` accepts exactly what `write` makes, and its memory is bounded by the count it is given.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from carnet.errors import FormatError

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]

K_MAX: Final = 62
"""With 62 bits of remainder the quotient of any number of 64 bits is at most three."""
_ONE: Final = np.uint64(1)
_WORD_BITS: Final = np.uint64(64)
_LN2: Final = 0.6931471805599453


def near_best(sums: NDArray[np.float64], counts: Int64) -> Int64:
    """For runs of so many numbers with these sums: the k that is best if the numbers fall off geometrically."""
    means = sums * _LN2 / np.maximum(counts, 1)
    return np.minimum(np.log2(np.maximum(means, 1.0)), K_MAX).astype(np.int64)


def write(numbers: UInt64, k: UInt64) -> tuple[bytes, bytes]:
    """(remainders, quotients) of the numbers, each under its own ``k``."""
    ends = ((numbers >> k) + _ONE).view(np.int64).cumsum()
    unary = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    unary[ends - 1] = 1
    widths = k.view(np.int64)
    stops = widths.cumsum()
    total = int(stops[-1]) if len(stops) else 0
    shifts = np.repeat(stops, widths) - np.arange(1, total + 1)
    remainders = (np.repeat(numbers, widths) >> shifts.view(np.uint64)) & _ONE
    return np.packbits(remainders.astype(np.uint8)).tobytes(), np.packbits(unary).tobytes()


def read(remainders: list[bytes], quotients: list[bytes], counts: Int64, k: UInt64) -> UInt64:
    """The numbers of several pairs of sections, one after the other: ``counts`` per pair, ``k`` per number.

    FormatError ``batch_length`` (a section has not the length that its numbers need), ``batch_padding`` (a filling bit
    is set) or ``batch_values`` (more than 64 bits).
    """
    high = _read_quotients(quotients, counts)
    if ((high >> (_WORD_BITS - _ONE - k)) > _ONE).any():
        raise FormatError("batch_values", "a number of a batch has more than 64 bits")
    return (high << k) | _read_remainders(remainders, counts, k)


def _read_quotients(sections: list[bytes], counts: Int64) -> UInt64:
    octets = np.frombuffer(b"".join(sections), np.uint8)
    bits = np.unpackbits(octets)
    total = int(counts.sum())
    # counted first: a section of nothing but ones would take 64 times its size as positions
    if int(np.count_nonzero(bits)) != total:
        raise FormatError("batch_length", "a batch has not as many quotients as its runs need")
    ones = bits.nonzero()[0]
    section_ends = np.array([len(section) for section in sections], np.int64).cumsum() * 8
    last = counts.cumsum()
    # of every section the last bit that is set lies in the last byte, and no earlier section borrows from a later one
    if (ones.searchsorted(section_ends) != last).any():
        raise FormatError("batch_length", "a batch has not as many quotients as its runs need")
    filled = counts > 0
    closing = np.where(filled, ones[last - 1] if total else 0, -1)
    starts = np.concatenate((section_ends[:1] * 0, section_ends[:-1]))
    used = np.where(filled, closing - starts + 1, 0)
    if ((used + 7) // 8 * 8 != section_ends - starts).any():
        raise FormatError("batch_length", "bytes follow the quotients of a batch")
    gaps = np.diff(ones, prepend=-1)
    first = (last - counts)[filled]
    gaps[first] = ones[first] - starts[filled] + 1
    return (gaps - 1).view(np.uint64)


def _read_remainders(sections: list[bytes], counts: Int64, k: UInt64) -> UInt64:
    widths = k.view(np.int64)
    stops = widths.cumsum()
    first = counts.cumsum() - counts
    bits_before = np.concatenate((np.zeros(1, np.int64), stops))
    section_bits = bits_before[first + counts] - bits_before[first]
    lengths = np.array([len(section) for section in sections], np.int64)
    if ((section_bits + 7) // 8 != lengths).any():
        raise FormatError("batch_length", "a batch has not as many remainders as its runs need")
    spare = (-section_bits) % 8
    for section, free in zip(sections, spare.tolist(), strict=True):
        if free and section[-1] & ((1 << free) - 1):
            raise FormatError("batch_padding", "the bits that fill up the remainders of a batch are not zero")
    starts = stops - widths + np.repeat((lengths.cumsum() - lengths) * 8 - bits_before[first], counts)
    return _bits(b"".join(sections), starts, k)


def _bits(data: bytes, starts: Int64, widths: UInt64) -> UInt64:
    """The numbers of up to 62 bits that begin at these bits."""
    padded = data + bytes(9)
    # every byte begins a word: the dtype is wider than the stride
    words = np.ndarray((len(data) + 1,), ">u8", padded, strides=(1,))
    octets = np.frombuffer(padded, np.uint8)
    at = starts >> 3
    shift = (starts & 7).view(np.uint64)
    window: UInt64 = words[at].astype(np.uint64) << shift
    window |= octets[at + 8].astype(np.uint64) >> (np.uint64(8) - shift)
    # shifting by all 64 bits has no meaning in C; two steps have
    found: UInt64 = (window >> _ONE) >> (_WORD_BITS - _ONE - widths)
    return found
