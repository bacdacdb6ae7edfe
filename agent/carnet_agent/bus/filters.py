"""Kernel filters out of wanted identifiers, so that what nobody was granted never leaves the kernel.

Law: every wanted frame passes. With at most 512 identifiers nothing else does; above, neighbours share a mask and the
plan drops what the mask lets in besides.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass

from carnet_agent.bus.reader import Identifier
from carnet_agent.dbc.j1939 import pgn_mask
from carnet_agent.dbc.plan import Match

EXTENDED_FLAG = 0x80000000
REMOTE_FLAG = 0x40000000
ERROR_FLAG = 0x20000000
STANDARD_MASK = 0x7FF
EXTENDED_MASK = 0x1FFFFFFF
FILTERS_MAX = 512
"""CAN_RAW_FILTER_MAX of linux/can.h: more are refused by setsockopt."""

FORMAT_FLAGS = EXTENDED_FLAG | REMOTE_FLAG
"""Always compared: an 11-bit identifier never lets in its 29-bit namesake, and no remote frame passes. The kernel also
looks such a filter up by table when it is exact, not by walking a list."""


@dataclass(frozen=True, slots=True, order=True)
class Filter:
    """A frame passes if its identifier, with the flag bits of linux/can.h,
    equals ``can_id`` in all bits of ``mask``.
    """

    can_id: int
    mask: int

    def passes(self, identifier: int) -> bool:
        """Whether a frame with this identifier and flag bits comes through."""
        return (identifier ^ self.can_id) & self.mask == 0


def identity_mask(can_id: int, extended: bool, match: Match) -> int:
    """The bits of an identifier that tell its message from others:
    under ``pgn`` not its source, nor its destination.
    """
    if not extended:
        return STANDARD_MASK
    if match != "pgn":
        return EXTENDED_MASK
    return pgn_mask(can_id)


def message_key(can_id: int, extended: bool, match: Match = "id") -> int:
    """One number per message, equal for all identifiers that carry it."""
    return can_id & identity_mask(can_id, extended, match) | (EXTENDED_FLAG if extended else 0)


def exact_filter(can_id: int, extended: bool, match: Match = "id") -> Filter:
    """The filter that lets in this message and nothing else."""
    mask = identity_mask(can_id, extended, match) | FORMAT_FLAGS
    return Filter(can_id=message_key(can_id, extended, match), mask=mask)


def kernel_filters(
    identifiers: Collection[Identifier], match: Match = "id", filters_max: int = FILTERS_MAX
) -> tuple[Filter, ...]:
    """At most ``filters_max`` filters that let in every one of ``identifiers``, and as little else as we manage.

    The two neighbours (in order of identifier) whose common mask adds the fewest foreign identifiers are merged until
    there are few enough: time n log n, and related identifiers differ in their low bits.
    """
    exact = sorted({exact_filter(can_id, extended, match) for can_id, extended in identifiers})
    return tuple(exact) if len(exact) <= filters_max else tuple(_widened(exact, filters_max))


def _merged(one: Filter, other: Filter) -> Filter:
    """The narrowest filter that lets in what either lets in."""
    mask = one.mask & other.mask & ~(one.can_id ^ other.can_id)
    return Filter(can_id=one.can_id & mask, mask=mask)


def _reach(filter_: Filter) -> int:
    """How many identifiers pass; both formats are counted in their own width by the bits the mask leaves open."""
    width = EXTENDED_MASK if filter_.can_id & EXTENDED_FLAG else STANDARD_MASK
    open_bits: int = (width & ~filter_.mask).bit_count()
    return 1 << open_bits


def _widened(exact: list[Filter], filters_max: int) -> list[Filter]:
    groups: list[Filter | None] = list(exact)
    left = list(range(-1, len(exact) - 1))
    right = list(range(1, len(exact) + 1))
    version = [0] * len(exact)
    heap: list[tuple[int, int, int, int, int]] = []

    def offer(first: int, second: int) -> None:
        """Put the pair up for merging, priced by the foreign identifiers it would let in."""
        one, other = groups[first], groups[second]
        if one is None or other is None or (one.can_id ^ other.can_id) & EXTENDED_FLAG:
            return  # a mask over both formats would open the whole 29-bit space for an 11-bit pattern
        price = _reach(_merged(one, other)) - _reach(one) - _reach(other)
        heapq.heappush(heap, (price, first, second, version[first], version[second]))

    for first in range(len(exact) - 1):
        offer(first, first + 1)
    for _ in range(len(exact) - filters_max):
        while True:
            _, first, second, first_version, second_version = heapq.heappop(heap)
            one, other = groups[first], groups[second]
            if one and other and (version[first], version[second]) == (first_version, second_version):
                break
        groups[first], groups[second] = _merged(one, other), None
        version[first] += 1
        right[first] = right[second]
        if right[first] < len(exact):
            left[right[first]] = first
            offer(first, right[first])
        if left[first] >= 0:
            offer(left[first], first)
    return [group for group in groups if group is not None]
