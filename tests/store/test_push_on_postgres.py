"""``tests/cloud/test_push.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_push
from tests.store.adopted import adopt

adopt(test_push, globals(), without=())
