"""One receiver process: the real parts over a store that others may use too, put together as `carnet_cloud.parts` does.

Law: two of them share the store, the journal's file, the wrapping keys and the log's hashes, and nothing else. What
only PostgreSQL has (locks within a transaction, news that come late) is not here: transactions follow one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection

from carnet.topics import parse_up
from carnet_cloud.catalogue import Catalogue
from carnet_cloud.consents import Consents, Waits
from carnet_cloud.core import CloudKeys, Receiver
from carnet_cloud.enqueue import Outlet
from carnet_cloud.entries import Entries
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.journal import Journal
from carnet_cloud.lease import Leases
from carnet_cloud.ledger.loghashes import LogHashes
from carnet_cloud.ledger.sequencer import Sequencer
from carnet_cloud.offers import Offers
from carnet_cloud.pending import pending_in
from carnet_cloud.push import Pusher
from carnet_cloud.running.keeper import finish_sales
from carnet_cloud.running.membership import Membership
from carnet_cloud.store import SqliteStore, Transaction
from carnet_cloud.store.others import NoOthers
from carnet_cloud.wrapping import Wrapping
from tests import consentkit as kit
from tests.cloud.kit import LOG_KEY
from tests.world.clockwork import Clockwork
from tests.world.listeners import Ear, Listener


class NodeKilled(BaseException):
    """One receiver's process ends at this very point; the others go on."""


class _Others(NoOthers):
    """The clock that all share is the world's; a narrowing is told to whoever asks next."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self.narrowed: list[str] = []

    def now_ms(self) -> int:
        return self._clockwork.now_ms

    def tell_narrowed(self, record: str) -> None:
        self.narrowed.append(record)


class SharedStore(SqliteStore):
    """The store of all nodes: one connection in one thread."""

    def __init__(self, connection: Connection, *, incarnation: bytes, clockwork: Clockwork) -> None:
        super().__init__(connection, incarnation=incarnation, now_ms=clockwork.now_ms)
        self.others = _Others(clockwork)
        self._tables = replace(self._tables, others=self.others)


class _Company:
    """`carnet_cloud.running.membership.Company` over it."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self.on_return = store.on_return

    def transaction(self) -> AbstractContextManager[Transaction]:
        return self._store.transaction()

    @property
    def incarnation(self) -> bytes:
        return self._store.incarnation

    def scrub(self) -> None:
        self._store.scrub()

    def copy_to(self, path: Path) -> None:
        self._store.copy_to(path)

    def close(self) -> None: ...

    def narrowed(self, wait_s: float) -> Iterable[str]:
        return []


class Node:
    """``shared``: whether it is one of several."""

    def __init__(
        self,
        store: SharedStore,
        keys: CloudKeys,
        folder: Path,
        listeners: Mapping[str, Listener],
        catalogue: Catalogue,
        clockwork: Clockwork,
        *,
        new_store: bool,
        shared: bool,
    ) -> None:
        self._clockwork = clock = clockwork
        self._store = store
        random, now = clock.random.randbytes, lambda: clock.now_ms
        self.member = random(8)
        self.inbox: list[tuple[str, bytes]] = []
        self.sending: set[str] = set()
        self.is_frozen = False
        self.freezes = 0
        self.is_dead = False
        self.ears: dict[str, Ear] = {name: listener.ear(self._freeze) for name, listener in listeners.items()}
        journal = Journal(
            folder / "journal" / "narrowings", store.incarnation, new_store=new_store, fsync=lambda _: None
        )
        self.membership = Membership(_Company(store), self.member) if shared else None
        self.shards: frozenset[int] = frozenset(range(256))
        self.wrapping = Wrapping(folder / "wrapping", random)
        book, self.leases = GrantBook(self.ears, pending_in(store, journal)), Leases()
        outlet = Outlet(book, catalogue, self.wrapping, b"p" * 32, random)
        self.pusher = Pusher(store, keys.sign, random)
        serving = {"serving": self.membership.serving} if self.membership else {}
        self.receiver = Receiver(store, keys, outlet, random, self.pusher.seen, self.pusher.behind, **serving)
        hashes = LogHashes(folder / "journal", fsync=lambda _: None)
        changed = self.pusher.changed
        self.sequencer = Sequencer(store, LOG_KEY, "carnet.example/log", self.member, hashes, random, now, changed)
        waits = Waits(now, lambda: float(clock.now_ms), lambda: clock.run(clock.now_ms + 5))
        self.consents = Consents(store, journal, self.leases, waits, changed, Entries(random))
        self.offers = Offers(store, catalogue, dict.fromkeys(self.ears, kit.RECIPIENT_NAME), now)
        clocks = Clocks(now, lambda: float(clock.now_ms), clock.random.random)
        self.forwarders = {
            name: Forwarder(store, self.ears, self.wrapping, self.leases, book.may_send, clocks, self.member)
            for name in self.ears
        }
        if self.membership is not None:
            self.membership.require_journal(store, journal.covers)

    def begin(self) -> None:
        """As every start does, before the first send."""
        self.consents.replay_journal()
        self.consents.finish_endings()
        finish_sales(self._store, self.consents)
        self.sequencer.start()
        self.share()

    @property
    def works(self) -> bool:
        return not self.is_frozen and not self.is_dead

    def share(self) -> None:
        """Show life; what others have narrowed meanwhile is cut."""
        if self.membership is not None:
            self.shards = self.membership.turn()

    def arrive(self, topic: str, payload: bytes) -> None:
        """The broker hands over a message, if this node has subscribed to its shard."""
        if parse_up(topic)[0] in self.shards:
            self.inbox.append((topic, payload))

    def _freeze(self, length_ms: int, *, dies: bool) -> None:
        """The machine stops it in the middle of a send; the rest of the world goes on."""
        self.is_frozen = True
        self.freezes += 1
        self._clockwork.note("node_killed" if dies else "node_frozen")
        self._clockwork.run(self._clockwork.now_ms + length_ms)
        self.is_frozen = False
        if dies:
            self.is_dead = True
            raise NodeKilled
