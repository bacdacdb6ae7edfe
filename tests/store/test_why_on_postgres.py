"""``tests/cloud/test_why.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_why
from tests.store.adopted import adopt

adopt(test_why, globals(), without=())
