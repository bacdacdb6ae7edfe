"""One connection, many threads: they take turns, and each turn is one transaction.

Law: what fails rolls back whole, the counters with it; nobody is told of a commit that did not happen.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from carnet.errors import UnavailableError
from carnet_cloud.store.database import Database
from carnet_cloud.store.others import Others
from carnet_cloud.store.transaction import Transaction


class Turns(ABC):
    """A store's transactions; the database behind it says how one begins and ends and what an error of its means."""

    def __init__(self, db: Database, others: Others) -> None:
        self._turn = threading.RLock()
        self._tables = Transaction.over(db, others)
        self._is_open = False
        self.on_return: Callable[[int, bytes], object] = lambda *_: None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """As `carnet_cloud.store.contract.Store` promises."""
        with self._turn:
            if self._is_open:
                yield self._tables
                return
            self._begin()
            self._is_open = True
            try:
                yield self._tables
                self._tables.counters.flush()
                self._commit()
            except BaseException as error:
                self._tables.counters.forget()
                self._rollback()
                unavailable = self._unavailable(error)
                if unavailable is None:
                    raise
                raise unavailable from error
            finally:
                self._is_open = False

    @abstractmethod
    def _begin(self) -> None:
        """Raises UnavailableError if no transaction can begin."""

    @abstractmethod
    def _commit(self) -> None:
        """Durable when it returns."""

    @abstractmethod
    def _rollback(self) -> None:
        """Undo what is open, if anything still is; raises nothing."""

    @abstractmethod
    def _unavailable(self, error: BaseException) -> UnavailableError | None:
        """What to tell instead of an error that is the database's fault and not the message's."""
