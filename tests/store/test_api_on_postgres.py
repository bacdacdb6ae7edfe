"""``tests/cloud/test_api.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_api
from tests.store.adopted import adopt

adopt(test_api, globals(), without=())
