"""A cloud in memory with the real store, gate and receiver, and a unit that seals for it with the real envelope."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from carnet import jws
from carnet.ack import Ack
from carnet.batch import Batch
from carnet.bodies import CheckIn, SchemaBody
from carnet.box import Place, Prelude, seal_box
from carnet.codec import encode
from carnet.down import DownMessage, open_down
from carnet.envelope import NO_PREVIOUS, Header, parse_envelope, sign_envelope
from carnet.envelopetype import EnvelopeType
from carnet.errors import FormatError
from carnet.ids import device_bytes, parse_id
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet, PublicKey
from carnet.schema import Column, Schema
from carnet.signals import Category, Sensitivity
from carnet.topics import topic_up
from carnet.transforms import Transform
from carnet_cloud.boxes import parse_schema
from carnet_cloud.catalogue import Catalogue, Entry
from carnet_cloud.consents import Consents, Waits
from carnet_cloud.core import CloudKeys, Receiver
from carnet_cloud.enqueue import Outlet
from carnet_cloud.entries import Entries
from carnet_cloud.event import unpack
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.journal import Journal
from carnet_cloud.lease import Leases
from carnet_cloud.ledger.loghashes import LogHashes
from carnet_cloud.ledger.receipts import Receipts
from carnet_cloud.ledger.sequencer import Sequencer
from carnet_cloud.offers import Offers
from carnet_cloud.pending import pending_in
from carnet_cloud.rendering import read, render
from carnet_cloud.store import SqliteStore, Store, Transaction
from carnet_cloud.store.devices import Device
from carnet_cloud.why import Answer, why
from carnet_cloud.wrapping import Wrapping, open_sealed
from tests import consentkit as kit

SEAL = BoxKey.from_seed(b"s" * 32)
SIGN = SigningKey.from_seed(b"g" * 32)
LOG_KEY = SigningKey.from_seed(b"l" * 32)
KEYS = CloudKeys({SEAL.kid: SEAL}, SIGN, KeySet(1, (PublicKey.of(SEAL.public),), (PublicKey.of(SIGN.public),)))
DEVICE = bytes(range(100, 116))
VEHICLE = device_bytes(kit.VEHICLE)
NOW_MS = kit.GIVEN_MS + kit.DAY_MS
BOOT = b"bootboot"
ODOMETER = Transform(interval_ms=60_000)
SPEED = Transform(interval_ms=1000, round="0.5")


def column(path: str, transform: Transform, unit: str, group: int = 0) -> Column:
    """A column as a car would declare it."""
    return Column(path, unit, "int", "0.5", "0", transform, group)


SCHEMA = Schema((column(kit.ODOMETER, ODOMETER, "km"), column(kit.SPEED, SPEED, "km/h", 1)))


@dataclass
class Clock:
    """Wall and monotonic time in one."""

    ms: int = NOW_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> float:
        return float(self.ms)

    def pause(self) -> None:
        self.ms += 5


def memory_store() -> SqliteStore:
    """An empty one."""
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    return SqliteStore(memory, incarnation=b"i" * 16, now_ms=NOW_MS)


class Cloud:
    """Everything but sockets and threads."""

    def __init__(
        self,
        folder: Path,
        *,
        recipients: tuple[str, ...] = (kit.RECIPIENT,),
        catalogue: Catalogue | None = None,
        store: SqliteStore | None = None,
        new_store: bool = True,
        seed: int = 5,
        fsync: Callable[[int], None] = lambda _: None,
    ) -> None:
        """``store``: if not a new one in memory; a journal that is not there silences one that is not new. ``fsync``:
        of the log's hashes.
        """
        source = random.Random(seed)
        self.clock = Clock()
        self.store = store or memory_store()
        self.journal = Journal(folder / "journal" / "narrowings", self.store.incarnation, new_store=new_store)
        self.wrapping = Wrapping(folder / "wrapping", source.randbytes)
        self.book = GrantBook(recipients, pending_in(self.store, self.journal))
        self.leases = Leases()
        catalogue = catalogue or Catalogue(
            [
                Entry(kit.ODOMETER, "km", Category.DRIVING, Sensitivity.LOW),
                Entry(kit.SPEED, "km/h", Category.DRIVING, Sensitivity.PERSONAL),
                Entry(kit.IGNITION, "", Category.DRIVING, Sensitivity.LOW),
            ]
        )
        self.outlet = Outlet(self.book, catalogue, self.wrapping, b"p" * 32, source.randbytes)
        self.receiver = Receiver(self.store, KEYS, self.outlet, source.randbytes)
        waits = Waits(self.clock.now_ms, self.clock.monotonic_ms, self.clock.pause)
        self.changed: list[bytes] = []
        self.log_hashes = LogHashes(folder / "journal", fsync)
        self.sequencer = self.make_sequencer(b"sequence", source)
        self.tell = self.explain, Receipts(LOG_KEY.public)
        """What the API tells owners and operators from."""
        self.lagging = False
        """Whether leaves wait for their place until somebody calls the sequencer."""
        self.consents = Consents(
            self.store, self.journal, self.leases, waits, self.changed.append, Entries(source.randbytes), self.written
        )
        self.offers = Offers(self.store, catalogue, dict.fromkeys(recipients, kit.RECIPIENT_NAME), self.clock.now_ms)

    def ask(self, query: str) -> Any:
        """The first row that a query of the test's own finds in the store."""
        with self.store.transaction() as t:
            return t.outbox._db.execute(query).fetchone()

    def make_sequencer(self, owner: bytes, source: random.Random, store: Store | None = None) -> Sequencer:
        """One more for the same log."""
        return Sequencer(
            store or self.store, LOG_KEY, "carnet.example/log", owner, self.log_hashes, source.randbytes,
            self.clock.now_ms, self.changed.append,
        )  # fmt: skip

    def written(self, tenant: str) -> None:
        """An entry was written: as a rule it is in the log before anybody else looks."""
        if not self.lagging:
            self.sequencer.turn(tenant)

    def explain(self, t: Transaction, vehicle: bytes, path: str, now_ms: int) -> list[Answer]:
        """`carnet_cloud.why.why` for this cloud."""
        return why(t, self.book, self.outlet.catalogue, vehicle, path, now_ms)

    def enrol(self, unit: Unit) -> None:
        with self.store.transaction() as t:
            device = Device(unit.device, VEHICLE, kit.TENANT, 1, unit.key.public, unit.receive.public, "active")
            t.devices.add(device, NOW_MS)
            public = kit.OWNER_KEY.public
            t.devices.pin_owner_key(VEHICLE, 1, jws.thumbprint(public), public)

    def give(self, **changes: Any) -> str:
        """The example owner's yes to the example offer; the record's token."""
        self.offers.publish(kit.OFFER)
        token = kit.token(**changes)
        self.consents.give(token, kit.VEHICLE)
        return token

    def send(self, *payloads: bytes, device: bytes = DEVICE) -> list[bytes]:
        """Messages of a unit through the receiver; the payloads that come back."""
        return [p for _, p in self.receiver.process([(topic_up(device), each) for each in payloads], self.clock.ms)]

    def counters(self) -> dict[str, int]:
        with self.store.transaction() as t:
            return t.counters.all()

    def events(self, recipient: str = kit.RECIPIENT) -> list[dict[str, Any]]:
        """What lies in the outbox for a recipient, opened as the forwarder would."""
        import json

        found = []
        with self.store.transaction() as t:
            due = t.outbox.due(recipient, b"sender01", 2**52, 1000)
            for queued in due:
                wrapped = t.outbox_keys.get(queued.record, queued.recipient)
                assert wrapped is not None
                key = self.wrapping.unwrap(*wrapped)
                assert key is not None
                plain = open_sealed(queued.payload, key, queued.event_id)
                assert plain is not None

                def schema_of(digest: bytes) -> Schema:
                    return parse_schema(t.streams.schema_by_hash(digest))

                payload = unpack(plain)
                (batches,) = read([payload], schema_of)
                assert not isinstance(batches, FormatError)
                found.append(json.loads(render(payload, batches)))
        return found


def log_at_once(
    store: Store,
    folder: Path,
    random_bytes: Callable[[int], bytes],
    now_ms: Callable[[], int],
    changed: Callable[[bytes], None],
) -> tuple[Entries, Callable[[str], object]]:
    """What `Consents` needs where every entry is to be in the log as soon as it is written."""
    name, hashes = "carnet.example/log", LogHashes(folder)
    sequencer = Sequencer(store, LOG_KEY, name, b"sequence", hashes, random_bytes, now_ms, changed)
    return Entries(random_bytes), sequencer.turn


@dataclass
class Unit:
    """A car that seals by hand: every call is the next envelope of its stream."""

    device: bytes = DEVICE
    key: SigningKey = field(default_factory=lambda: SigningKey.from_seed(b"d" * 32))
    receive: BoxKey = field(default_factory=lambda: BoxKey.from_seed(b"r" * 32))
    stream: bytes = b"streamaa"
    seq: int = 0
    head: bytes = NO_PREVIOUS
    boot_ms: int = 3_600_000
    wall_ms: int = NOW_MS
    uncertainty_ms: int = 20
    generation: int = 1
    epoch: int = 1
    boot: bytes = BOOT

    def data(
        self, batch: Batch | None = None, *, records: tuple[str, ...] = (kit.RECORD_ID,), body: bytes | None = None
    ) -> bytes:
        """The next data envelope with one box."""
        batch = batch or readings()
        content = encode(batch) if body is None else body
        names = tuple(sorted(parse_id(record, "rec_") for record in records))
        return self.envelope(EnvelopeType.DATA, content, schema_hash=batch.schema.hash, records=names)

    def schema(self, schema: Schema = SCHEMA) -> bytes:
        return self.envelope(EnvelopeType.SCHEMA, SchemaBody(schema.document).encode())

    def check_in(self, nonce: bytes = b"n" * 16, key_set: int = 1, mode: str = "normal") -> bytes:
        content = CheckIn(nonce, self.seq, self.head, key_set, mode=mode).encode()
        return self.envelope(EnvelopeType.CHECK_IN_OR_HEALTH, content, seq=0)

    def envelope(self, kind: EnvelopeType, content: bytes, seq: int | None = None, **prelude: Any) -> bytes:
        """Seal, number, chain and sign; ``seq`` 0 leaves the chain as it is."""
        number = self.seq + 1 if seq is None else seq
        prev = NO_PREVIOUS if number == 0 else self.head
        cut = number.to_bytes(8, "big")
        place = Place(kind, 0, self.device, self.stream, cut, self.key.kid, SEAL.kid)
        known: dict[str, Any] = (
            {"wall_ms": self.wall_ms, "wall_uncertainty_ms": self.uncertainty_ms} if self.wall_ms else {}
        )
        box = seal_box(
            Prelude(self.epoch, self.generation, self.boot, self.boot_ms, **known, **prelude),
            content,
            SEAL.public,
            place,
            cut * 4,
        )
        header = Header(kind, self.device, self.stream, number, cut, self.key.kid, prev)
        data = sign_envelope(header, [(SEAL.kid, box)], self.key)
        if number:
            self.seq, self.head = number, parse_envelope(data).manifest_hash
        return data

    def open(self, payload: bytes) -> DownMessage:
        return open_down(payload, self.device, KEYS.public.signing_keys, self.receive)

    def acks(self, payloads: list[bytes]) -> list[Ack]:
        return [message for message in map(self.open, payloads) if isinstance(message, Ack)]


def readings(schema: Schema = SCHEMA, boot_ms: int = 3_600_000, count: int = 4) -> Batch:
    """Four rows a group, a second apart, ending at ``boot_ms``."""
    times = tuple(
        np.arange(count, dtype=np.int64) * 1000 + boot_ms - 1000 * (count - 1) for _ in range(schema.group_count)
    )
    values = tuple(np.arange(count, dtype=np.int64) * 2 + 100 * n for n in range(len(schema.columns)))
    return Batch(schema, times, values)
