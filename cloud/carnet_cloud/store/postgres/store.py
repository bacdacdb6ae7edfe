"""The store on PostgreSQL: one connection a program, several programs on one database.

Law: a commit that PostgreSQL did not confirm did not happen for us, and without a connection nothing goes in or out.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import psycopg
from psycopg.pq import TransactionStatus

from carnet.errors import UnavailableError
from carnet_cloud.store.postgres.link import Statements, connect, gone
from carnet_cloud.store.postgres.locks import NARROWED, PostgresLocks
from carnet_cloud.store.postgres.schema import migrate
from carnet_cloud.store.turns import Turns

AGAIN_S = 0.5
"""After a connection that could not be made the next one is not tried sooner: whoever waits is told at once."""
SERVERS_FAULT = (psycopg.OperationalError, psycopg.InternalError, psycopg.InterfaceError)


class PostgresStore(Turns):
    """One connection behind a lock: threads take turns, other programs are kept apart by `PostgresLocks`."""

    def __init__(self, url: str, *, incarnation: bytes, now_ms: int, password: str | None = None) -> None:
        """Connect and bring the schema up to date; ``incarnation`` names a store that is new.

        Raises UnavailableError when the server cannot be reached, ConfigError when it must not be used.
        """
        self._url, self._password = url, password
        self._again_s = 0.0
        self._db = Statements(connect(url, password))
        self._locks = PostgresLocks(self._db)
        super().__init__(self._db, self._locks)
        try:
            self.is_new = migrate(self._db, incarnation, now_ms)
            self._incarnation = bytes(self._db.one("select id from incarnation")[0])
        except BaseException as error:
            self._db.connection.close()
            if isinstance(error, psycopg.Error):
                raise gone(error) from error
            raise

    def close(self) -> None:
        with self._turn:
            self._db.connection.close()

    @property
    def incarnation(self) -> bytes:
        return self._incarnation

    def scrub(self) -> None:
        """Nothing: dead rows are the server's to clear, and what they hold is unreadable within the hour."""

    def narrowed(self, wait_s: float) -> Iterator[str]:
        """Records that programs on this store tell us have narrowed, as they come, for so long."""
        with self._turn:
            try:
                if self._db.connection.closed:
                    self._return()
                self._db.execute(f"listen {NARROWED}")
                yield from (told.payload for told in self._db.connection.notifies(timeout=wait_s))
            except SERVERS_FAULT as error:
                raise gone(error) from error

    def _begin(self) -> None:
        for last in (False, True):
            try:
                if self._db.connection.closed:
                    self._return()
                self._db.execute("begin")
                self._locks.forget()
            except SERVERS_FAULT as error:
                # a server that was started again breaks the first statement on the connection from before
                self._db.connection.close()
                if last:
                    raise gone(error) from error
            else:
                return

    def _commit(self) -> None:
        if self._db.execute("commit").statusmessage != "COMMIT":
            # a failed statement that somebody caught: PostgreSQL rolls back and calls that success
            raise UnavailableError("store_unavailable", "the store has kept nothing: a statement before had failed")

    def _rollback(self) -> None:
        connection = self._db.connection
        if connection.closed or connection.info.transaction_status is TransactionStatus.IDLE:
            return
        try:
            connection.execute("rollback")
        except psycopg.Error:
            connection.close()

    def _unavailable(self, error: BaseException) -> UnavailableError | None:
        return gone(error) if isinstance(error, SERVERS_FAULT) else None

    def _return(self) -> None:
        """Connect again. The store may have gone back in time meanwhile; another one is refused."""
        if monotonic() < self._again_s:
            raise UnavailableError("store_unavailable", "the store cannot be reached: it was tried a moment ago")
        self._again_s = monotonic() + AGAIN_S
        self._db.connection = connect(self._url, self._password)
        incarnation, lines, digest = self._db.one("select id, journal_lines, journal_digest from incarnation")
        if bytes(incarnation) != self._incarnation:
            self._db.connection.close()
            raise UnavailableError("store_other", "another store answers now: start this program again")
        try:
            self.on_return(int(lines), bytes(digest or b""))
        except UnavailableError:
            self._db.connection.close()
            raise
        self._again_s = 0.0
