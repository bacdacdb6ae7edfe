"""Kernel filters: everything wanted passes, at most 512 of them, and exactly the wanted below that."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from carnet_agent.bus.filters import (
    ERROR_FLAG,
    EXTENDED_FLAG,
    FILTERS_MAX,
    FORMAT_FLAGS,
    REMOTE_FLAG,
    Filter,
    kernel_filters,
    message_key,
)

identifiers = st.one_of(
    st.tuples(st.integers(0, 0x7FF), st.just(False)),
    st.tuples(st.integers(0, 0x1FFFFFFF), st.just(True)),
    st.tuples(st.integers(0x18FEF000, 0x18FEF0FF), st.just(True)),
)


def passes(filters: tuple[Filter, ...], can_id: int, extended: bool, flags: int = 0) -> bool:
    """What the kernel does: any one filter lets a frame in."""
    on_the_wire = can_id | (EXTENDED_FLAG if extended else 0) | flags
    return any(on_the_wire & each.mask == each.can_id & each.mask for each in filters)


@given(st.sets(identifiers, max_size=60), st.integers(2, 20))
def test_everything_wanted_passes_however_few_filters_there_may_be(wanted: set[tuple[int, bool]], most: int) -> None:
    filters = kernel_filters(wanted, filters_max=most)
    assert len(filters) <= most
    assert all(passes(filters, *identifier) for identifier in wanted)


@given(st.sets(identifiers, min_size=1, max_size=60), identifiers)
def test_nothing_unwanted_passes_while_there_is_a_filter_for_each(
    wanted: set[tuple[int, bool]], other: tuple[int, bool]
) -> None:
    assert passes(kernel_filters(wanted), *other) == (other in wanted)


@given(st.sets(identifiers, min_size=1, max_size=60), st.integers(2, 20))
def test_remote_frames_and_the_other_format_never_pass(wanted: set[tuple[int, bool]], most: int) -> None:
    filters = kernel_filters(wanted, filters_max=most)
    for can_id, extended in wanted:
        assert not passes(filters, can_id, extended, REMOTE_FLAG)
    assert all(each.mask & FORMAT_FLAGS == FORMAT_FLAGS for each in filters)
    if not any(extended for _, extended in wanted):
        assert not any(passes(filters, can_id, True) for can_id, _ in wanted)


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_above_512_identifiers_they_are_widened_to_masks(seed: int) -> None:
    chance = random.Random(seed)
    wanted = {(chance.randrange(0x20000000), True) for _ in range(900)}
    wanted |= {(chance.randrange(0x800), False) for _ in range(400)}
    filters = kernel_filters(wanted)
    assert len(filters) == FILTERS_MAX
    assert all(passes(filters, *identifier) for identifier in wanted)


def test_no_identifier_gives_no_filter_and_a_kernel_without_filters_lets_nothing_in() -> None:
    assert kernel_filters([]) == ()


def test_widening_adds_as_little_as_it_can() -> None:
    """Four neighbours fit one mask without a foreign identifier; a distant one keeps its own filter."""
    wanted = [(0x100, False), (0x101, False), (0x102, False), (0x103, False), (0x6F5, False)]
    filters = kernel_filters(wanted, filters_max=2)
    assert [can_id for can_id in range(0x800) if passes(filters, can_id, False)] == [can_id for can_id, _ in wanted]


def test_a_dense_range_of_600_widens_to_512_filters_without_a_foreign_identifier() -> None:
    wanted = {(can_id, False) for can_id in range(0x100, 0x100 + 600)}
    filters = kernel_filters(wanted)
    assert {(can_id, False) for can_id in range(0x800) if passes(filters, can_id, False)} == wanted


def test_a_parameter_group_passes_from_every_source_at_every_priority() -> None:
    filters = kernel_filters([(0x18FEF1FE, True)], "pgn")
    assert len(filters) == 1
    assert passes(filters, 0x0CFEF100, True)
    assert not passes(filters, 0x18FEF2FE, True)
    assert not passes(filters, 0x19FEF1FE, True)


def test_a_destination_specific_parameter_group_passes_to_every_destination() -> None:
    filters = kernel_filters([(0x18EF0100, True)], "pgn")
    assert passes(filters, 0x18EF2733, True)
    assert not passes(filters, 0x18EE0100, True)


@given(identifiers, st.integers(0, 0xFF), st.integers(0, 7))
def test_the_key_of_a_message_is_what_its_filter_compares(one: tuple[int, bool], source: int, priority: int) -> None:
    can_id, extended = one
    other = can_id & 0x03FFFF00 | priority << 26 | source if extended else can_id
    assert passes(kernel_filters([one], "pgn"), other, extended)
    assert message_key(can_id, extended, "pgn") == message_key(other, extended, "pgn")


def test_an_error_frame_is_not_mistaken_for_a_wanted_message() -> None:
    """The kernel keeps error frames apart from filters; should one slip through a mask, the flag is not compared."""
    assert all(each.mask & ERROR_FLAG == 0 for each in kernel_filters([(0x100, False)]))
