"""The tables of the buffer and the pragmas it is opened with; made by sqlite-utils, used through sqlite3."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

APPLICATION_ID = 0x43524142  # "CRAB": a database of another program is never touched
VERSION = 1
PAGE_BYTES = 4096

WHOLE = ("quick_check(1)",)
"""Every page, but not whether what an index says is so."""
THOROUGH = ("integrity_check(1)",)
"""That, too: ten times as long."""
BESIDE_ROWS = tuple(f"quick_check({table})" for table in ("meta", "box", "checkpoint", "schema", "gap", "destroyed"))
"""Every table but that of the rows, which is nearly all of a full file."""

PRAGMAS = (
    "locking_mode=EXCLUSIVE",  # two writers on one WAL can corrupt it (SQLite 3.7.0 to 3.51.2)
    "journal_mode=WAL",
    "synchronous=FULL",  # NORMAL loses committed rows in a power cut (measured)
    "wal_autocheckpoint=256",
    "journal_size_limit=-1",
    "secure_delete=ON",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "mmap_size=0",
)


def configure(connection: sqlite3.Connection, size_bytes_max: int) -> None:
    """Set every pragma (the cap is not stored in the file, so it is set at each open) and make the tables if new."""
    connection.isolation_level = None
    connection.execute(f"pragma page_size={PAGE_BYTES}")
    for pragma in PRAGMAS:
        connection.execute(f"pragma {pragma}")
    connection.execute(f"pragma max_page_count={max(16, size_bytes_max // PAGE_BYTES)}")
    if connection.execute("pragma user_version").fetchone()[0] != VERSION:
        _create(connection)


def check(connection: sqlite3.Connection, looks: Sequence[str] = WHOLE) -> bool:
    """Whether this is an intact buffer of this program or an empty file, as far as these pragmas look."""
    application, version = (
        connection.execute(f"pragma {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    is_ours = (application, version) in ((0, 0), (APPLICATION_ID, VERSION))
    return is_ours and all(finds_nothing(connection, look) for look in looks)


def finds_nothing(connection: sqlite3.Connection, look: str) -> bool:
    """Whether SQLite finds nothing wrong with this look (`WHOLE` and the others)."""
    try:
        return bool(connection.execute(f"pragma {look}").fetchone()[0] == "ok")
    except UnicodeDecodeError:
        # its report quotes what is damaged
        return False


def _create(connection: sqlite3.Connection) -> None:
    # imported here: the warm path never needs it, and it is a tenth of a second and ten megabytes
    import sqlite_utils

    db = sqlite_utils.Database(connection)
    with db.atomic():
        # These two are written with every row. Without a rowid a table is one tree instead of two, and each tree that a
        # commit touches costs a page of the log (bench/buffer.py).
        db.execute("create table meta (name text primary key, value blob) without rowid")
        db.execute(
            "create table box (number integer, idx integer, handle blob, samples integer, schema blob,"
            " primary key (number, idx)) without rowid"
        )
        db.table("row").create(
            {
                "number": int,
                "stream": bytes,
                "seq": int,
                "type": int,
                "priority": int,
                "acked": int,
                "samples": int,
                "manifest": bytes,
                "envelope": bytes,
            },
            pk="number",
        )
        db.table("row").create_index(["stream", "seq"], unique=True)
        db.execute("create index row_waiting on row (priority, number) where acked = 0")
        db.table("checkpoint").create(
            {
                "number": int,
                "cut": bytes,
                "handle": bytes,
                "kid": bytes,
                "priority": int,
                "samples": int,
                "schema": bytes,
                "box": bytes,
            },
            pk="number",
        )
        db.table("schema").create({"hash": bytes, "document": bytes}, pk="hash")
        db.table("gap").create(
            {"stream": bytes, "first": int, "last": int, "reason": str, "samples": int}, pk=("stream", "first")
        )
        db.table("destroyed").create(
            {"handle": bytes, "generation": int, "reason": int, "boxes": int, "rows": int, "samples": int}, pk="handle"
        )
        # with the tables: a power cut between would leave a file that no start could tell from a damaged one
        db.execute(f"pragma application_id={APPLICATION_ID}")
        db.execute(f"pragma user_version={VERSION}")
