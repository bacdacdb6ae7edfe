"""``tests/attacks/test_tenure_attacks.py`` on PostgreSQL."""

from __future__ import annotations

from tests.attacks import test_tenure_attacks
from tests.store.adopted import adopt

adopt(
    test_tenure_attacks,
    globals(),
    without={
        # about SQLite's file
        "test_f25_a_sale_that_meets_a_full_disk_is_silent_at_once_and_can_be_said_again",
    },
)
