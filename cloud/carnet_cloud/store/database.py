"""What the tables need of a database: statements that both dialects understand, with ``?`` for every value.

Law: the tables speak the common part of SQLite and PostgreSQL, so there is one copy of every query. What differs
(types, locks, connections, errors) stays in the module of the one database.

Common: ``on conflict``, ``limit``, row values, ``case``. Not common, so not used: ``insert or ignore``, ``min`` and
``max`` of two values, ``limit -1``, a bare column name in ``do update set`` that means the old value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol


class Rows(Protocol):
    """What a statement found, or how many rows it changed."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection inside a transaction. Blobs come back as bytes, integers as int."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Rows: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object: ...
