"""``tests/cloud/test_core.py`` on PostgreSQL."""

from __future__ import annotations

from carnet.codec import encode
from carnet_cloud.store.postgres import PostgresStore
from tests.cloud import test_core
from tests.cloud.kit import Cloud, Unit, readings
from tests.store.adopted import KEPT, TABLES, adopt

adopt(test_core, globals(), without={"test_no_reading_lies_in_the_store_unsealed"})


def test_no_reading_lies_in_any_table_unsealed(cloud: Cloud, granted: Unit) -> None:
    cloud.send(granted.data())
    with cloud.store.transaction() as t:
        assert t.outbox.depth() == {"queued": 1}
        rows = [row for table in TABLES for row in t.outbox._db.execute(f"select * from {table}")]
    assert [value for row in rows for value in row if isinstance(value, bytes) and encode(readings()) in value] == []


def test_every_table_of_the_schema_is_emptied_between_tests(emptied: PostgresStore) -> None:
    with emptied.transaction() as t:
        rows = t.outbox._db.execute("select tablename from pg_tables where schemaname = current_schema()")
        assert {name for (name,) in rows} == {*TABLES, *KEPT}
