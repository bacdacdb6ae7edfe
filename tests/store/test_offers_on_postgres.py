"""``tests/cloud/test_offers.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_offers
from tests.store.adopted import adopt

adopt(test_offers, globals(), without=())
