"""``tests/cloud/test_replay.py`` and ``test_replay_accounts.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_replay, test_replay_accounts
from tests.store.adopted import adopt

adopt(test_replay, globals(), without=set())
adopt(test_replay_accounts, globals(), without=set())
