"""``tests/cloud/test_replay.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_replay
from tests.store.adopted import adopt

adopt(test_replay, globals(), without=set())
