"""The connection to PostgreSQL, as the tables know it, and what its errors may say.

Law: a server that confirms what it may lose is refused; no error of ours repeats a password or a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrBinaryDumper

from carnet.errors import ConfigError, UnavailableError

STATEMENTS_MAX = 500
"""Prepared at the server; the program has about a hundred."""
VERSION_MIN = 13
SESSION = """
    set lock_timeout = '5s';
    set statement_timeout = '20s';
    set idle_in_transaction_session_timeout = '10s';
    set default_transaction_isolation = 'read committed';
"""
"""A program that hangs in the middle of a transaction holds nobody up for longer than that."""
LINK: dict[str, Any] = {
    "autocommit": True,
    "application_name": "carnet",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def connect(url: str, password: str | None) -> psycopg.Connection[Any]:
    """A connection with our settings. UnavailableError says why there is none, ConfigError why it must not be used."""
    given: dict[str, Any] = {} if password is None else {"password": password}
    try:
        connection = psycopg.connect(url, **LINK, **given)
    except psycopg.ProgrammingError as error:
        raise ConfigError("store_url", "store.url is no address of a PostgreSQL database") from error
    except psycopg.Error as error:
        raise UnavailableError("store_unavailable", f"the store cannot be reached: {_said(error)}") from error
    try:
        connection.execute(SESSION)
        _require_durable(connection)
    except BaseException as error:
        connection.close()
        if isinstance(error, psycopg.Error):
            raise gone(error) from error
        raise
    # or a statement would be prepared once for every mixture of small and large numbers
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    connection.adapters.register_dumper(str, StrBinaryDumper)
    connection.prepared_max = STATEMENTS_MAX
    return connection


class Statements:
    """A `Database` over the connection of now: ``?`` for values, prepared once, numbers of one size."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        return self.connection.execute(_query(sql), values, prepare=True, binary=True)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        rows = list(rows)
        if len(rows) == 1:
            self.execute(sql, rows[0])
        elif rows:
            self.connection.cursor().executemany(_query(sql), rows)

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The only row."""
        return self.execute(sql, values).fetchone()


@lru_cache(maxsize=STATEMENTS_MAX)
def _query(sql: str) -> bytes:
    """In psycopg's spelling. No statement of ours holds a question mark or a per cent sign otherwise."""
    return sql.replace("?", "%b").encode()


def gone(error: psycopg.Error) -> UnavailableError:
    """What to tell of an error that is the server's or the connection's: its kind, for its text may hold values."""
    kind = type(error).__name__ if error.sqlstate is None else f"{type(error).__name__}, {error.sqlstate}"
    return UnavailableError("store_unavailable", f"the store cannot be reached or written: {kind}")


def _said(error: psycopg.Error) -> str:
    """Why there is no connection, as libpq says it: place, user and reason."""
    lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    return next((line for line in lines if "failed:" in line), lines[0])


def _require_durable(connection: psycopg.Connection[Any]) -> None:
    version = connection.info.server_version // 10_000
    if version < VERSION_MIN:
        raise ConfigError("store_old", f"PostgreSQL {version} is too old: {VERSION_MIN} or newer is needed")
    if connection.execute("show fsync").fetchone() != ("on",):
        raise ConfigError("store_fsync", "the PostgreSQL server runs with fsync = off and may lose what it confirms")
    if connection.execute("show synchronous_commit").fetchone() == ("off",):
        connection.execute("set synchronous_commit = on")
