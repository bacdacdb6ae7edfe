"""The tables in PostgreSQL's words: the same steps as SQLite's, with its names for the types.

Law: several programs may start at once; one brings the schema up to date, in one transaction, and the others find it
so.
Text is compared byte by byte, as SQLite does it: in whatever language the database was made, orders are the same.
"""

from __future__ import annotations

import re

from carnet.errors import ConfigError
from carnet_cloud.store.migrations import STEPS, require_known
from carnet_cloud.store.postgres.link import Statements
from carnet_cloud.store.postgres.locks import SCHEMA

TYPES = {"blob": "bytea", "integer": "bigint", "text": 'text collate "C"'}


def script(step: str) -> str:
    """A step of ``migrations.STEPS`` for PostgreSQL."""
    return re.sub(r"\b(blob|integer|text)\b", lambda found: TYPES[found[0]], step.replace("without rowid", ""))


def migrate(db: Statements, incarnation: bytes, now_ms: int) -> bool:
    """Bring the schema up to date; whether the store is new, and ``incarnation`` its name from now on."""
    with db.connection.transaction():
        db.execute("select pg_advisory_xact_lock(?::int4, 0)", (SCHEMA,))
        version = _version(db)
        require_known(version)
        for step, text in enumerate(STEPS[version:], start=version + 1):
            db.connection.execute(script(text).encode())
            db.execute("update carnet_version set version = ?", (step,))
        is_new = bool(db.one("select count(*) from incarnation")[0] == 0)
        if is_new:
            db.execute("insert into incarnation (id, created_ms) values (?, ?)", (incarnation, now_ms))
    return is_new


def _version(db: Statements) -> int:
    """Of the schema that is there, 0 if there is none; ConfigError if what is there is not ours."""
    (has_version,) = db.one("select to_regclass('carnet_version') is not null")
    if has_version:
        return int(db.one("select version from carnet_version")[0])
    (has_tables,) = db.one("select to_regclass('incarnation') is not null or to_regclass('record') is not null")
    if has_tables:
        raise ConfigError("store_foreign", "this database belongs to another program")
    db.execute("create table carnet_version (version bigint not null)")
    db.execute("insert into carnet_version values (0)")
    return 0
