"""``tests/cloud/test_enqueue.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_enqueue
from tests.store.adopted import adopt

adopt(test_enqueue, globals(), without=())
