"""``tests/cloud/test_sequencer.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_sequencer
from tests.store.adopted import adopt

adopt(
    test_sequencer,
    globals(),
    without={
        # about SQLite's connection
        "test_a_turn_that_breaks_at_any_statement_leaves_what_was_before",
        "test_what_waits_is_found_through_an_index",
        # takes as long as the others together
        "test_one_generation_has_one_content",
    },
)
