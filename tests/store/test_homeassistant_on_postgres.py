"""``tests/cloud/test_homeassistant.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_homeassistant
from tests.store.adopted import adopt

adopt(test_homeassistant, globals(), without=set())
