"""``tests/cloud/test_accounts.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_accounts
from tests.store.adopted import adopt

adopt(
    test_accounts,
    globals(),
    without={
        # about SQLite's connection
        "test_nothing_is_counted_by_reading_what_is_stored",
    },
)
