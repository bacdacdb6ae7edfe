"""``tests/cloud/test_core.py`` on PostgreSQL."""

from __future__ import annotations

from carnet.codec import encode
from tests.cloud import test_core
from tests.cloud.kit import Cloud, Unit, readings
from tests.store.adopted import TABLES, adopt

adopt(test_core, globals(), without={"test_no_reading_lies_in_the_store_unsealed"})


def test_no_reading_lies_in_any_table_unsealed(cloud: Cloud, granted: Unit) -> None:
    cloud.send(granted.data())
    with cloud.store.transaction() as t:
        assert t.outbox.depth() == {"queued": 1}
        rows = [row for table in TABLES for row in t.outbox._db.execute(f"select * from {table}")]
    assert [value for row in rows for value in row if isinstance(value, bytes) and encode(readings()) in value] == []
