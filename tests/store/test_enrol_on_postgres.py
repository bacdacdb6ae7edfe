"""``tests/cloud/test_enrol.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_enrol
from tests.store.adopted import adopt

adopt(test_enrol, globals(), without=())
