"""What a store promises, whichever database it is: ``tests/store`` asks it of each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from carnet_cloud.store.transaction import Transaction


class Store(Protocol):
    """One place where the cloud remembers; any thread may use it."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """All or nothing, and durable when it returns: whatever ends the process, all of it is there or none.

        What it has read stays true until it ends as far as it decides anything: no other transaction changes it in
        between. Nested use joins the outer transaction.

        Raises UnavailableError when the database cannot be reached or written (full, gone, damaged): then nothing of
        the transaction was kept, so nothing may be answered or sent on its account. Any other exception from inside
        it rolls back and passes through.
        """

    on_return: Callable[[int, bytes], object]
    """Told behind every connection but the first how many lines of the journal of narrowings the store has applied, and
    which (`Consents.journal_digest`). UnavailableError from it: the store must not be used as it is.
    """

    @property
    def incarnation(self) -> bytes:
        """16 random bytes given at creation: a journal of narrowings belongs to one incarnation."""

    def scrub(self) -> None:
        """Take out of the database's own files, as far as this program can, what was deleted from its tables."""

    def close(self) -> None:
        """Give everything back: lock, files, connection. Not used afterwards."""
