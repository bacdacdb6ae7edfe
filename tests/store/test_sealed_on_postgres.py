"""``tests/cloud/test_sealed.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_sealed
from tests.store.adopted import adopt

adopt(
    test_sealed,
    globals(),
    without={
        # two clouds side by side, each with a store of its own
        "test_opened_it_is_the_event_that_an_open_box_would_have_made",
    },
)
