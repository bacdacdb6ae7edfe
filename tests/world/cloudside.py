"""The cloud's half: the real receiver, gate, consents, forwarders and journal over a store that can crash or fall back.

Law: a crash ends everything of the process that is under way, also what it was called from.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from carnet.envelope import parse_envelope, verify
from carnet.errors import Error, UnavailableError
from carnet.topics import topic_up
from carnet_cloud.catalogue import Catalogue, read_entries
from carnet_cloud.consents import Consents
from carnet_cloud.enrol import enrol
from carnet_cloud.grantbook import tenure_of
from carnet_cloud.ledger.accounts import day_accounts, end_expired
from carnet_cloud.offers import Offers
from carnet_cloud.running.keeper import AT_ONCE
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, KEYS, VEHICLE
from tests.world.car import MAPPING
from tests.world.clockwork import Clockwork, PowerCut, law
from tests.world.disk import Disk
from tests.world.identity import BUYER, FIRST, Identity
from tests.world.ledger import Ledger
from tests.world.listeners import Breaks, Listener
from tests.world.node import Node, NodeKilled, SharedStore

T = TypeVar("T")
STORE = "store.db"
GROUPS_AT_ONCE = 6
GROUP_MAX = 256


class CloudSide:
    """``send(payload)`` takes what goes down to the unit; ``folder`` holds journal and wrapping keys."""

    def __init__(
        self,
        clockwork: Clockwork,
        ledger: Ledger,
        folder: Path,
        listeners: dict[str, Listener],
        send: Callable[[bytes], None],
    ) -> None:
        self._clockwork, self._ledger, self._folder, self._send = clockwork, ledger, folder, send
        self._listeners = listeners
        self.nodes: list[Node] = []
        self.node_count = 1
        self.keys = KEYS
        self.disk = Disk()
        self.is_up = False
        self._depth = 0
        self._answers_left: int | None = None
        self._cut_at_group: bool | None = None
        self.held_up_ms = 0
        """How long sends took that came within something else, which waited for them: there is one thread."""
        self._catalogue = Catalogue(read_entries(MAPPING, "world.map.toml"))
        self._incarnation = clockwork.random.randbytes(16)
        self._is_new = True
        self._restored_from: set[tuple[bytes, int]] = set()
        self.losses_forgotten = 0
        """Samples that gaps named to a store which a backup then replaced."""
        self._seller: set[tuple[bytes, int]] | None = None
        self.logs_again_ms = 0
        """Until then the sequencer does nothing."""

    def start(self) -> None:
        """The process begins; a cut may come in the middle of that too."""
        try:
            self._start()
        except (PowerCut, UnavailableError) as ended:
            # without a store that can be written no process stays
            self._clockwork.note("cloud_cut_at_start" if isinstance(ended, PowerCut) else "store_refused_start")
            self._stop(None)
            self.on_cut()

    def _start(self) -> None:
        """What a crash left half is finished first."""
        connection = self.disk.open(STORE)
        self.store = SharedStore(connection, incarnation=self._incarnation, clockwork=self._clockwork)
        if self._restored_from:
            self._ledger.lost_by_backup |= self._restored_from - self.taken()
            self._restored_from.clear()
        self.nodes = []
        for _ in range(self.node_count):
            self._add_node()
        self.is_up = True
        if self._is_new:
            self.enrol(FIRST)
            self._is_new = False
        for node in self.nodes:
            node.begin()

    def _add_node(self) -> Node:
        node = Node(
            self.store, self.keys, self._folder, self._listeners, self._catalogue, self._clockwork,
            new_store=self._is_new and not self.nodes, shared=self.node_count > 1,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    @property
    def front(self) -> Node:
        """The node that answers the owner."""
        return next(node for node in self.nodes if node.works)

    @property
    def consents(self) -> Consents:
        return self.front.consents

    @property
    def offers(self) -> Offers:
        return self.front.offers

    @property
    def tenure(self) -> int:
        """The epoch that the store has the vehicle in."""
        with self.store.transaction() as t:
            return tenure_of(t, VEHICLE)[0]

    def enrol(self, identity: Identity) -> bool:
        """Somebody brings the file of a unit; with a later epoch it is of a car that was sold."""
        enrol(self.store, identity.enrolment, kit.TENANT, self._clockwork.now_ms)
        self.consents.end_tenures(VEHICLE)
        return True

    def call(self, work: Callable[[], T], *, begins: bool = False) -> T | None:
        """Let the cloud work; None if it is down or went down at that. ``begins``: no process need be there for it."""
        if not self.is_up or not (begins or any(node.works for node in self.nodes)):
            return None
        self._depth += 1
        try:
            return work()
        except PowerCut:
            if self._depth > 1:
                raise
            self._clockwork.note("cloud_cut_at_answer" if self._answers_left == 0 else "cloud_cut_at_commit")
            self._stop(None)
            self.on_cut()
            return None
        except UnavailableError as refused:
            # as the loops do: it is said, and they go on
            self._clockwork.note(f"refused_{refused.reason}")
            return None
        except Breaks:
            return None
        finally:
            self._depth -= 1

    def on_cut(self) -> None:
        """What the world does about a cut; set by it."""
        raise NotImplementedError

    def crash(self, back_to: int | None = None) -> None:
        """The process ends. ``back_to``: an operator restores that backup of the store; the journal is not in it."""
        if not self.is_up:
            return
        if self._depth:
            raise PowerCut
        self._stop(back_to)

    def _stop(self, back_to: int | None) -> None:
        self.look()
        if back_to is not None:
            self._restored_from = self.taken()
            self.losses_forgotten += self._losses()
        self.disk.crash(back_to)
        self.is_up = False
        self.no_more_cuts()

    def look(self) -> None:
        """No reading lies in the store unsealed."""
        for data in self.disk.images().values():
            self._ledger.hidden(data, "the cloud's store")

    def no_more_cuts(self) -> None:
        """From now on it runs on."""
        self._answers_left = self._cut_at_group = None

    @property
    def busy(self) -> bool:
        """Something of it is under way: this is an event within one that takes time."""
        return self._depth > 0

    def fill(self, length_ms: int) -> None:
        """The store's disk is full for so long."""
        self.disk.is_full = True
        self._clockwork.at(length_ms, "room again", self.has_room)

    def has_room(self) -> None:
        self.disk.is_full = False

    def cut_at_answer(self, answers: int) -> None:
        """Stop after so many more answers."""
        self._answers_left = answers

    def cut_at_group(self, *, after: bool) -> None:
        """Stop at the commit of the next group of messages: before it is done, or before it is answered."""
        self._cut_at_group = after

    # work

    def arrive(self, payload: bytes, device: bytes = DEVICE) -> None:
        """The broker hands over a message, as one of this device."""
        for node in self.nodes if self.is_up else []:
            node.arrive(topic_up(device), payload)

    def receive(self) -> None:
        """One turn of every receiver's loop."""
        for node in self.nodes:
            if node.works and (node.inbox or node.pusher._waiting):
                self.call(lambda to=node: self._receive(to))  # type: ignore[misc]

    def _receive(self, node: Node) -> None:
        messages, node.inbox = node.inbox[:GROUP_MAX], node.inbox[GROUP_MAX:]
        now_ms = self._clockwork.now_ms
        if messages and self._cut_at_group is not None:
            self.disk.cut_at_commit(0, after=self._cut_at_group)
            self._cut_at_group = None
        answers = node.receiver.process(messages, now_ms) if messages else []
        for _, payload in [*answers, *node.pusher.due(now_ms)]:
            if self._answers_left is not None:
                if self._answers_left == 0:
                    raise PowerCut
                self._answers_left -= 1
            self._send(payload)
        self._look_for_clones(messages)
        self._look()

    def _look_for_clones(self, messages: list[tuple[str, bytes]]) -> None:
        """Whoever signs one number twice is believed nothing any more."""
        for _, payload in messages:
            with suppress(Error):
                envelope = parse_envelope(payload)
                header, manifest = envelope.header, envelope.manifest_hash
                query = "select manifest from replay where device = ? and stream = ? and seq = ?"
                place = header.device, header.stream, header.seq
                row = self.disk.connection(STORE).execute(query, place).fetchone()
                if row is not None and row[0] != manifest:
                    verify(envelope, (FIRST if header.device == FIRST.device else BUYER).sign.public)
                    self._clockwork.note("number_twice")
                    law(self._is_lost(header.device), "law 5: one number with two contents, and nobody says so")
                law(row is None or not self._is_new_of_seller(*place), "law 2: the seller's unit is still heard")

    def _is_lost(self, device: bytes) -> bool:
        with self.store.transaction() as t:
            found = t.devices.get(device)
        return found is None or found.state != "active"

    def end_seller(self) -> None:
        """The sale has returned: from now on nothing more of his unit is taken."""
        query = "select stream, seq from replay where device = ?"
        self._seller = set(self.disk.connection(STORE).execute(query, (FIRST.device,)).fetchall())

    def _is_new_of_seller(self, device: bytes, stream: bytes, seq: int) -> bool:
        return device == FIRST.device and self._seller is not None and (stream, seq) not in self._seller

    @property
    def is_quarantined(self) -> bool:
        query = "select 1 from device where state = 'quarantined'"
        return self.disk.connection(STORE).execute(query).fetchone() is not None

    def _look(self) -> None:
        """Tell the ledger what generation there is; before a send too, for a cut may have come before the answers."""
        query = "select epoch, generation from generation where vehicle = ? order by epoch"
        for epoch, generation in self.disk.connection(STORE).execute(query, (VEHICLE,)).fetchall():
            self._ledger.rises(epoch, generation)

    def share(self) -> None:
        """One turn of what the nodes have in common; what one of them narrowed, the others cut."""
        if not self.is_up or self.node_count == 1:
            return
        narrowed, self.store.others.narrowed = self.store.others.narrowed, []
        for node in self.nodes:
            if node.works:
                for record in narrowed:
                    node.leases.cut(record)
                self.call(node.share)

    def forward(self, recipient: str) -> None:
        """One turn of every forwarder's loop."""
        for node in self.nodes:
            if node.works and recipient not in node.sending and self._has_work(recipient):
                self._forward(node, recipient)

    def _forward(self, node: Node, recipient: str) -> None:
        node.sending.add(recipient)
        held_up_ms, began_ms = self.held_up_ms, self._clockwork.now_ms
        self.call(self._look)
        try:
            for _ in range(GROUPS_AT_ONCE):
                node.ears[recipient].final.clear()
                freezes = node.freezes
                if not self.call(lambda: node.forwarders[recipient].step(recipient)):
                    break
                self._settled(node.ears[recipient].final, stood_still=node.freezes > freezes)
        except NodeKilled:
            # whoever keeps the processes begins another one
            if node in self.nodes:
                self.nodes.remove(node)
                self.call(lambda: self._add_node().begin(), begins=True)
        finally:
            node.sending.discard(recipient)
            if self.busy:
                self.held_up_ms = held_up_ms + self._clockwork.now_ms - began_ms

    def _has_work(self, recipient: str) -> bool:
        """An idle turn of a forwarder would find nothing and change nothing; most turns are idle."""
        query = "select 1 from outbox where recipient = ? and state in ('queued', 'leased') limit 1"
        return self.is_up and self.disk.connection(STORE).execute(query, (recipient,)).fetchone() is not None

    def _settled(self, final: list[str], *, stood_still: bool) -> None:
        """What was answered for good never comes again, but for what another program took meanwhile from one that stood
        still in the middle of its group.
        """
        if len(final) > 1:
            self._clockwork.note("sent_in_a_group")
        for event_id in final:
            if stood_still and self._is_due(event_id):
                self._clockwork.note("taken_in_a_freeze")
            else:
                self._ledger.settled(event_id)

    def _is_due(self, event_id: str) -> bool:
        query = "select 1 from outbox where event_id = ? and state in ('queued', 'leased')"
        return self.disk.connection(STORE).execute(query, (bytes.fromhex(event_id),)).fetchone() is not None

    def sequence(self) -> None:
        """One turn of the sequencer's loop; now and then it hangs for a while."""
        if self._clockwork.now_ms < self.logs_again_ms:
            return
        for node in self.nodes:
            if node.works and (leaves := self.call(node.sequencer.turns)):
                self._clockwork.note("logged", leaves)

    def keep_house(self) -> None:
        """What the keeper does every hour."""
        self.call(self._end_expired)
        self.call(lambda: self.front.receiver.sweep(self._clockwork.now_ms))
        self.call(lambda: self.front.wrapping.rotate(self.store, self._clockwork.now_ms))

    def _end_expired(self) -> None:
        with self.store.transaction() as t:
            end_expired(t, self._clockwork.random.randbytes, self._clockwork.now_ms, AT_ONCE)
            day_accounts(t, self._clockwork.random.randbytes, self._clockwork.now_ms, AT_ONCE)

    def _losses(self) -> int:
        query = "select coalesce(sum(value), 0) from counter where name like 'lost_%'"
        return int(self.disk.connection(STORE).execute(query).fetchone()[0])

    def taken(self) -> set[tuple[bytes, int]]:
        """Stream and number of every envelope that it knows."""
        return set(self.disk.connection(STORE).execute("select stream, seq from replay").fetchall())

    def held(self) -> set[tuple[bytes, int]]:
        """Stream and number of every envelope that waits for its time to be known."""
        return set(self.disk.connection(STORE).execute("select stream, seq from held order by stream, seq").fetchall())

    def remains(self, record: str) -> bool:
        """Whether a payload of the record, or the key to one, is still in the store."""
        database = self.disk.connection(STORE)
        queries = (
            "select count(*) from outbox where record = ? and payload is not null",
            "select count(*) from outbox_key where record = ?",
        )
        return any(database.execute(query, (record,)).fetchone()[0] for query in queries)

    def counters(self) -> dict[str, int]:
        with self.store.transaction() as t:
            return t.counters.all()
