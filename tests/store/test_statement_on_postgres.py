"""``tests/cloud/test_statement.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_statement
from tests.store.adopted import adopt

adopt(test_statement, globals(), without=set())
