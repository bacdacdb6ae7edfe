"""The sequencer: gives queued leaves their place in their tenant's log and signs what the log has come to.

Law 6: a place is given once, in one transaction with the nodes above it and the checkpoint over them; a crash leaves
all of it or nothing, and a backup that is restored forgets nothing of what was signed. Law 3: an entry that widens
takes effect in that transaction, and nothing else waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from carnet import canonical
from carnet.errors import ConfigError, Error, RemoteError, UnavailableError
from carnet.keys import SigningKey
from carnet.ledger.checkpoint import Checkpoint, verify_checkpoint
from carnet.ledger.leaf import SALT_BYTES, ConsentLeaf, LogLeaf, parse_leaf
from carnet.ledger.merkle import EMPTY, leaf_hash, stored_frontier
from carnet.ledger.signednote import NoteKey
from carnet.limits import BODY_BYTES_MAX
from carnet.states import WIDENING
from carnet_cloud.ledger.leaves import queue_leaf
from carnet_cloud.ledger.loghashes import LogHashes
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.ledger import StoredLeaf, StoredLog

LEASE_MS = 800
"""How long a sequencer that does not come back keeps the others out: with the second that they may have looked before,
and clocks that differ by 100 ms, a leaf has its place within two seconds all the same.
"""
LEAVES_AT_ONCE = 256

FORGOTTEN_AT_ONCE = 4096

Tenure = tuple[bytes, int]
"""A vehicle and an epoch: what has one sequence of generations."""
Entry = tuple[bytes, StoredLeaf | None]
"""A leaf's hash, and the leaf if the store has it."""


def _raise(error: Error) -> None:
    raise error


class Sequencer:
    """One of those that may work on a store, by its random name ``owner``; a lease in the store says whose turn it is.

    ``key`` signs the logs and nothing else; a new log is called ``name`` and its tenant. ``hashes`` lie outside of the
    store. ``changed`` is told the vehicle whose grant set has a new generation.
    """

    def __init__(
        self,
        store: Store,
        key: SigningKey,
        name: str,
        owner: bytes,
        hashes: LogHashes,
        random: Callable[[int], bytes],
        now_ms: Callable[[], int],
        changed: Callable[[bytes], None],
    ) -> None:
        self._store = store
        self._key = key
        self._name = name
        self._owner = owner
        self._hashes = hashes
        self._random = random
        self._now_ms = now_ms
        self._changed = changed

    def start(self) -> int:
        """Before anybody is told a head: bring every log to where it was when it was last signed, and log what waits;
        how many leaves got a place. ConfigError ``log_key_differs`` if a log of the store was signed by another key.
        """
        with self._store.transaction() as t:
            logs, waiting = t.ledger.logs(), t.ledger.tenants_waiting()
        for log in logs:
            try:
                verify_checkpoint(log.checkpoint, [NoteKey(log.origin, self._key.public)])
            except RemoteError as error:
                raise ConfigError(
                    "log_key_differs", f"log.key is not the key of {log.origin}: restore it from its copy"
                ) from error
        tenants = sorted({*waiting, *self._hashes.tenants(), *(log.tenant for log in logs)})
        return sum(count for tenant in tenants for count in iter(lambda each=tenant: self.turn(each), 0))  # type: ignore[misc]

    def turns(self, failed: Callable[[Error], object] = _raise) -> int:
        """A turn for every tenant that has something to log; how many leaves got a place. ``failed`` is told why a log
        could not be added to, which keeps no other up.
        """
        with self._store.transaction() as t:
            tenants = t.ledger.tenants_waiting()
        count = 0
        for tenant in tenants:
            try:
                count += self.turn(tenant)
            except Error as error:
                failed(error)
        return count

    def turn(self, tenant: str) -> int:
        """Log what waits, at most LEAVES_AT_ONCE leaves; how many. Nothing while another sequencer has the lease."""
        now_ms = self._now_ms()
        with self._store.transaction() as t:
            t.others.log(tenant)
            log = self._leased(t, tenant, now_ms)
            if log is None:
                return 0
            taken_back, new = self._next(t, log)
            if not (taken_back or new):
                return 0
            t.others.change_records({leaf.record for _, leaf in [*taken_back, *new] if leaf})
            tenures = self._append(t, log, [*taken_back, *new])
            for vehicle, epoch in sorted(tenures):
                t.consents.raise_generation(vehicle, epoch)
            t.counters.add("log_leaves", len(new))
            t.counters.add("log_leaves_forgotten", sum(leaf is None for _, leaf in taken_back))
            # last, and before the commit: what is signed then is never forgotten
            self._hashes.append(tenant, log.size + len(taken_back), [each for each, _ in new])
        for vehicle in sorted({vehicle for vehicle, _ in tenures}):
            self._changed(vehicle)
        return len(taken_back) + len(new)

    def _leased(self, t: Transaction, tenant: str, now_ms: int) -> StoredLog | None:
        """The log with our lease on it; None if it is another's. One that is new begins with the leaf of its name. Who
        has the lease of a store that has forgotten something signed is forgotten, too.
        """
        log = t.ledger.log(tenant)
        if log is None:
            origin = f"{self._name}/{tenant}"
            if not self._hashes.size(tenant):
                queue_leaf(t, tenant, tenant, LogLeaf(origin, tenant, now_ms), self._random(SALT_BYTES), 0)
            log = StoredLog(tenant, origin, EMPTY.size, EMPTY.root, "", self._owner, 0)
        is_whole = self._hashes.size(tenant) <= log.size
        if is_whole and log.owner != self._owner and log.until_ms > now_ms:
            return None
        return replace(log, owner=self._owner, until_ms=now_ms + LEASE_MS)

    def _next(self, t: Transaction, log: StoredLog) -> tuple[list[Entry], list[Entry]]:
        """What the tree had before and the store has forgotten, then what is new. A leaf whose place a crash took back
        waits still, and is known by its hash.
        """
        forgotten = self._forgotten(t, log)
        limit = FORGOTTEN_AT_ONCE if forgotten else LEAVES_AT_ONCE
        waiting = {leaf_hash(leaf.salt + leaf.document): leaf for leaf in t.ledger.waiting(log.tenant, limit)}
        taken_back: list[Entry] = [(each, waiting.pop(each, None)) for each in forgotten]
        if len(forgotten) == FORGOTTEN_AT_ONCE:
            return taken_back, []
        new: list[Entry] = [*waiting.items()]
        return taken_back, new[:LEAVES_AT_ONCE]

    def _forgotten(self, t: Transaction, log: StoredLog) -> list[bytes]:
        """Hashes that were signed and that the store does not have. UnavailableError ``log_differs``: then nothing is
        signed until somebody has found out which of the two is the log.
        """
        outside = self._hashes.size(log.tenant)
        common = min(outside, log.size)
        if common and self._hashes.read(log.tenant, common - 1, 1) != [t.ledger.node(log.tenant, 0, common - 1)]:
            raise UnavailableError("log_differs", f"the store has another history of {log.origin} than its journal")
        if outside < log.size:
            rest = range(outside, log.size)
            self._hashes.append(log.tenant, outside, [t.ledger.node(log.tenant, 0, index) for index in rest])
        return self._hashes.read(log.tenant, log.size, min(FORGOTTEN_AT_ONCE, max(0, outside - log.size)))

    def _append(self, t: Transaction, log: StoredLog, entries: Iterable[Entry]) -> set[Tenure]:
        """Give these the next places and write the head; whose grant sets change."""
        tenures: set[Tenure] = set()
        frontier = stored_frontier(log.size, partial(t.ledger.node, log.tenant))
        for each, leaf in entries:
            position = frontier.size
            frontier, made = frontier.append(each)
            t.ledger.add_nodes(log.tenant, made)
            if leaf is not None:
                t.ledger.place(leaf, position)
                tenures |= _take_effect(t, leaf, position)
        head = frontier.head()
        checkpoint = Checkpoint(log.origin, head).signed_by(self._key)
        t.ledger.set_log(replace(log, size=head.size, root=head.root, checkpoint=checkpoint))
        return tenures


def _take_effect(t: Transaction, stored: StoredLeaf, position: int) -> set[Tenure]:
    """An entry has its place: the record bears it, and what widens is in force, with all entries that came with it."""
    leaf = parse_leaf(canonical.parse(stored.document, BODY_BYTES_MAX))
    record = t.consents.record(leaf.record) if isinstance(leaf, ConsentLeaf) else None
    if record is None or not isinstance(leaf, ConsentLeaf):
        return set()
    t.consents.set_position(record.id, position)
    is_last = leaf.seq == len(t.consents.events(record.id))
    if leaf.event not in WIDENING or not is_last or record.in_force > leaf.seq:
        return set()
    t.consents.set_in_force(record.id, leaf.seq + 1, record.expires_ms)
    return {(record.vehicle, record.epoch)}
