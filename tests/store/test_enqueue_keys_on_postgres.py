"""``tests/cloud/test_enqueue_keys.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_enqueue_keys
from tests.store.adopted import adopt

adopt(test_enqueue_keys, globals(), without=())
