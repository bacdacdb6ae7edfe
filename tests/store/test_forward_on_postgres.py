"""``tests/cloud/test_forward.py`` and ``test_forward_endings.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_forward, test_forward_endings
from tests.store.adopted import adopt

adopt(
    test_forward,
    globals(),
    without={
        "test_a_group_costs_one_transaction_to_lease_and_one_to_settle",
        "test_what_waits_is_counted_from_an_index_however_much_is_done",
    },
)
adopt(test_forward_endings, globals(), without=set())
