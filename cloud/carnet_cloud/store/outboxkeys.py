"""The keys under which the outbox holds each recipient's data, wrapped by a key that lives outside the database.

Law: there is one of each (record, recipient); it goes with its grant (`Outbox.destroy`) and comes back in no other way.
"""

from __future__ import annotations

from carnet_cloud.store.database import Database


class OutboxKeys:
    """Wrapped keys by (record, recipient)."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, record: str, recipient: str) -> tuple[bytes, bytes] | None:
        """(wrapped key, id of the wrapping key)"""
        row = self._db.execute(
            "select wrapped, wrapping_key from outbox_key where record = ? and recipient = ?", (record, recipient)
        ).fetchone()
        return (bytes(row[0]), bytes(row[1])) if row else None

    def set(
        self,
        record: str,
        recipient: str,
        wrapped: bytes,
        wrapping_key: bytes,
        ends_ms: int = 0,
        *,
        instead_of: bytes | None = None,
    ) -> None:
        """Make a key, or one in the place of one whose wrapping key (``instead_of``) is gone; another one stays.

        ``ends_ms``: when `end_expired` looks at its record; 0 is its next turn.
        """
        self._db.execute(
            "insert into outbox_key (record, recipient, wrapped, wrapping_key, ends_ms) values (?, ?, ?, ?, ?)"
            " on conflict (record, recipient) do update"
            " set wrapped = excluded.wrapped, wrapping_key = excluded.wrapping_key where outbox_key.wrapping_key = ?",
            (record, recipient, wrapped, wrapping_key, ends_ms, instead_of),
        )

    def rewrap(self, record: str, recipient: str, wrapped: bytes, wrapping_key: bytes) -> None:
        """The same key in another wrapping; one that has been destroyed meanwhile stays so."""
        self._db.execute(
            "update outbox_key set wrapped = ?, wrapping_key = ? where record = ? and recipient = ?",
            (wrapped, wrapping_key, record, recipient),
        )

    def all(self) -> list[tuple[str, str, bytes, bytes]]:
        rows = self._db.execute(
            "select record, recipient, wrapped, wrapping_key from outbox_key order by record, recipient"
        )
        return [(r, p, bytes(w), bytes(k)) for r, p, w, k in rows]
