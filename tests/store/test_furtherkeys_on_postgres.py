"""``tests/cloud/test_furtherkeys.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_furtherkeys
from tests.store.adopted import adopt

adopt(
    test_furtherkeys,
    globals(),
    without={
        # about SQLite's file
        "test_a_removal_that_meets_a_full_disk_is_silent_at_once_and_can_be_said_again",
    },
)
