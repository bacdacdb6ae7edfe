"""This receiver among those on its store: signs of life, its share of the shards, and news of narrowings.

Law: a message is taken only in a transaction in which its shard is this receiver's, and which nobody can take over
from before it ends. A receiver that shows no life for MEMBER_MS loses its shards to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from carnet.errors import ConfigError
from carnet_cloud.running.sharing import plan
from carnet_cloud.store import Store, Transaction

MEMBER_MS = 2500
"""How long after its last sign a receiver is believed to live, by the store's clock."""
TURN_S = 0.5


class Company(Store, Protocol):
    """A store that several receivers use, on a connection that waits for nobody else."""

    def narrowed(self, wait_s: float) -> Iterable[str]:
        """Records that are narrowed on the store, as they come, for so long."""


class Membership:
    """``member`` is random and new at every start. ``company`` is used by one thread alone."""

    def __init__(self, company: Company, member: bytes) -> None:
        self._company = company
        self._member = member

    def require_journal(self, store: Store, covers: Callable[[int, bytes], bool]) -> None:
        """ConfigError ``journal_other`` if our journal (`Journal.covers`) is not the store's while others write it."""
        with store.transaction() as t:
            others = [until_ms for until_ms in t.shards.receivers().values() if until_ms > t.others.now_ms()]
            applied = t.consents.journal_lines(), t.consents.journal_digest()
        if others and not covers(*applied):
            raise ConfigError(
                "journal_other", "store.journal: the other receivers on this store write another file: name theirs"
            )

    def turn(self) -> frozenset[int]:
        """Show life, bury who has shown none for too long, and share; the shards that are this receiver's now."""
        with self._company.transaction() as t:
            t.shards.live(self._member, t.others.now_ms() + MEMBER_MS)
        with self._company.transaction() as t:
            t.others.share()
            living = self._living(t)
            if self._member not in living:
                # a turn that took too long; the next one begins anew
                return frozenset()
            todo = plan(self._member, living, t.shards.owners())
            t.shards.take(self._member, todo.take)
            t.shards.give_back(self._member, todo.give_back)
            return t.shards.of(self._member)

    def _living(self, t: Transaction) -> set[bytes]:
        """Everybody but those that could be buried. One in the middle of a transaction is left for the next turn."""
        now_ms = t.others.now_ms()
        living = set()
        for member, until_ms in t.shards.receivers().items():
            if until_ms <= now_ms and t.others.take_over(member):
                t.shards.bury(member)
            else:
                living.add(member)
        return living

    def serving(self, t: Transaction) -> frozenset[int]:
        """The shards whose messages may be taken in this transaction."""
        t.others.serve(self._member)
        return t.shards.of(self._member)

    def narrowed(self, wait_s: float) -> Iterable[str]:
        """See `Company.narrowed`."""
        return self._company.narrowed(wait_s)

    def leave(self) -> None:
        """Give everything back, so that the others need not wait; not in the middle of a transaction that hangs."""
        with self._company.transaction() as t:
            if t.others.take_over(self._member):
                t.shards.bury(self._member)
        self._company.close()
