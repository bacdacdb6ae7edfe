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

K_MAX: Final = 61
"""With 61 bits of remainder the quotient of any number of 64 bits is at most seven."""
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


def read(sections: list[bytes], counts: Int64, k: UInt64) -> UInt64:
    """The numbers behind several pairs of remainders and quotients: ``counts`` per pair, ``k`` per number.

    FormatError ``batch_length`` (a pair has not the length that its numbers need), ``batch_padding`` (a filling bit is
    set) or ``batch_values`` (more than 64 bits).
    """
    bits_before = np.concatenate((np.zeros(1, np.int64), k.view(np.int64).cumsum()))
    last = counts.cumsum()
    remainder_bits = bits_before[last] - bits_before[last - counts]
    remainders, quotients = [], []
    for section, bits in zip(sections, remainder_bits.tolist(), strict=True):
        size = (bits + 7) // 8
        if size > len(section):
            raise FormatError("batch_length", "a batch ends within its remainders")
        if bits % 8 and section[size - 1] & 0xFF >> bits % 8:
            raise FormatError("batch_padding", "the bits that fill up the remainders of a batch are not zero")
        remainders.append(section[:size])
        quotients.append(section[size:])
    high = _read_quotients(quotients, counts)
    if ((high >> (_WORD_BITS - _ONE - k)) > _ONE).any():
        raise FormatError("batch_values", "a number of a batch has more than 64 bits")
    # where each number's bits begin, once the filling bits of the sections before are counted in
    filling = (-remainder_bits % 8).cumsum() - (-remainder_bits % 8)
    return (high << k) | _bits(b"".join(remainders), bits_before[:-1] + np.repeat(filling, counts), k)


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


def _bits(data: bytes, starts: Int64, widths: UInt64) -> UInt64:
    """The numbers of up to 61 bits that begin at these bits."""
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
