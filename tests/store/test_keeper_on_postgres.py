"""``tests/cloud/test_keeper.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_keeper
from tests.store.adopted import adopt

adopt(
    test_keeper,
    globals(),
    without={
        "test_endings_are_found_through_an_index_some_at_a_time",
        "test_a_turn_looks_at_no_vehicle_that_was_sold_long_ago",
        "test_windows_that_have_ended_are_found_through_an_index",
    },
)
