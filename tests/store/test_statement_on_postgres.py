"""``tests/cloud/test_statement.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_statement
from tests.store.adopted import adopt

# it puts a SQLite file back
adopt(
    test_statement,
    globals(),
    without={"test_what_a_restored_store_had_forgotten_is_still_the_owners_own_withdrawal"},
)
