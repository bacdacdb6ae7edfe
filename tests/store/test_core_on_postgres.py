"""``tests/cloud/test_core.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_core
from tests.store.adopted import adopt

adopt(test_core, globals(), without=())
