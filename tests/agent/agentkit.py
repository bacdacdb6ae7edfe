"""An agent in memory: the real core, SQLite and collector, fed by the simulated car, on a clock of its own.

Law: nothing random but seeds, no socket, no thread. What a test does not change works.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import cantools
import numpy as np
from cantools.database.can import Database
from numpy.typing import NDArray

from carnet.ack import NO_HASH, Ack
from carnet.bodies import CheckIn
from carnet.box import open_box
from carnet.consent import Ceiling, Documents, GrantSet, encode_grant_set
from carnet.down import GrantSetMessage, SealedMessage, seal_down, sign_ack
from carnet.envelope import Envelope, parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.keys import BoxKey, SigningKey
from carnet_agent.buffer import Buffer
from carnet_agent.buffer.tables import configure as configure_buffer
from carnet_agent.collecting import Collecting
from carnet_agent.consent.store import GrantStore
from carnet_agent.consent.store import configure as configure_grants
from carnet_agent.core import Agent
from carnet_agent.effects import Effect, Identifiers, Publish, SetIdentifiers
from carnet_agent.frames import Frames
from carnet_agent.moment import Moment
from carnet_agent.statefolder import BUFFER_FILE, CONSENT_FILE
from carnet_agent.unit import Unit
from carnet_simulator.frames import drive
from tests import consentkit as kit
from tests.agent.collectkit import Car, demo_car
from tests.cloud.kit import DEVICE, KEYS, SEAL
from tests.conftest import CHECKOUT

SIGN = SigningKey.from_seed(b"d" * 32)
RECEIVE = BoxKey.from_seed(b"r" * 32)
BOOT = b"bootboot"
START_MS = 3_600_000
"""BOOTTIME when a test begins."""
BUFFER_BYTES = 4 << 20
ITEMS = [
    kit.item(kit.SPEED, transform={"interval_ms": 1000}),
    kit.item(kit.ODOMETER, "optional", transform={"interval_ms": 5000}),
]
OFFER = kit.offer_bytes(items=ITEMS)


class Rig:
    """One unit and the car around it; ``wall_ms`` is the truth at BOOTTIME `START_MS`.

    Its databases are in memory, or in ``folder`` under their usual names.
    """

    def __init__(
        self,
        wall_ms: int,
        *,
        car: Car | None = None,
        seed: int = 7,
        ceiling: Ceiling | None = None,
        buffer_bytes: int = BUFFER_BYTES,
        folder: Path | None = None,
    ) -> None:
        self.car = car or _car()
        self.random = random.Random(seed)
        self.unit = Unit(DEVICE, SIGN, RECEIVE, KEYS.public, ceiling or Ceiling())
        self.boot_ms, self.boot_id = START_MS, BOOT
        self.synchronised = False
        self._wall_ms = wall_ms - START_MS
        places = [":memory:" if folder is None else folder / name for name in (BUFFER_FILE, CONSENT_FILE)]
        self.buffer_db, self.consent_db = (sqlite3.connect(place, check_same_thread=False) for place in places)
        configure_buffer(self.buffer_db, buffer_bytes)
        configure_grants(self.consent_db)
        self._source = drive([("can0", _database())], seed)
        self.identifiers: Identifiers = {}
        self.published: list[bytes] = []
        self.discard_remains: Callable[[], None] = lambda: None
        self.agent = agent_of(self)

    @property
    def wall_ms(self) -> int:
        """What time it really is."""
        return self._wall_ms + self.boot_ms

    def moment(self) -> Moment:
        return Moment(self.boot_ms, self.boot_id, self.wall_ms if self.synchronised else 0, self.synchronised)

    # what happens

    def start(self) -> None:
        """Start the agent; after a crash what was only in memory is gone."""
        self.agent = agent_of(self)
        self.do(self.agent.on_start(self.moment()))

    def reboot(self) -> None:
        """The power goes and comes back; BOOTTIME begins again."""
        self._wall_ms = self.wall_ms - START_MS
        self.boot_ms, self.boot_id = START_MS, self.random.randbytes(8)
        self._source = drive([("can0", _database())], 7)
        self.start()

    def connect(self, up: bool = True) -> None:
        self.do(self.agent.on_connection(up, self.moment()))

    def hear(self, payload: bytes) -> None:
        self.do(self.agent.on_down(payload, self.moment()))

    def tell(self, message: SealedMessage) -> None:
        """The cloud sends this."""
        self.hear(seal_down(message, DEVICE, KEYS.sign, RECEIVE.public, self.random.randbytes(32)))

    def grant(self, grant_set: GrantSet) -> None:
        self.tell(GrantSetMessage(encode_grant_set(grant_set)))

    def pass_time(self, ms: int, *, step_ms: int = 1000, frames: bool = True) -> None:
        """Time goes on in steps; the car drives, if there are frames, and ticks come."""
        end_ms = self.boot_ms + ms
        while self.boot_ms < end_ms:
            self.boot_ms = min(end_ms, self.boot_ms + step_ms)
            if frames:
                self.do(self.agent.on_frames(self._frames(), self.moment()))
            self.do(self.agent.on_tick(self.moment()))

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Publish):
                self.published.append(effect.payload)
            elif isinstance(effect, SetIdentifiers):
                self.identifiers = effect.identifiers

    def take(self) -> list[bytes]:
        """What was published since the last call."""
        found, self.published = self.published, []
        return found

    def envelopes(self) -> list[Envelope]:
        return [parse_envelope(each) for each in self.take()]

    def count(self, name: str) -> int:
        return self.agent.counters().get(name, 0)

    def _frames(self) -> Frames:
        block = self._source.frames_until(self.boot_ms - START_MS)
        frames = Frames(
            block.bus,
            block.can_id,
            block.extended.astype(np.uint8),
            block.length,
            block.payload,
            block.time_ns + START_MS * 1_000_000,
        )
        wanted = [
            (i, bool(e)) in set(self.identifiers.get("can0", ()))
            for i, e in zip(block.can_id, block.extended, strict=True)
        ]
        return frames.take(np.array(wanted, bool))


def agent_of(rig: Rig) -> Agent:
    """A new agent over the rig's databases."""
    buffer = Buffer(rig.buffer_db, DEVICE, SIGN, rig.random.randbytes, rig.discard_remains)
    store = GrantStore(rig.consent_db, kit.OWNER, rig.random.randbytes)
    plan = rig.car.plan

    def identifiers(wanted: NDArray[np.int32]) -> Identifiers:
        return {"can0": tuple(plan.select(wanted.tolist()).identifiers("can0"))}

    collector: Collecting = rig.car.collector()
    return Agent(rig.unit, buffer, store, collector, identifiers, rig.random.randbytes)


_car = cache(demo_car)


@cache
def _database() -> Database:
    return cast("Database", cantools.database.load_file(CHECKOUT / "dbc" / "carnet_demo.dbc"))


def record(*kinds: str, **changes: Any) -> Documents:
    """The example owner's yes to `OFFER`, with events."""
    return kit.documents(*kinds, offer=OFFER, optional=(1,), **changes)


def answer(check_in: bytes, *, server_ms: int, **changes: Any) -> bytes:
    """The cloud's acknowledgement of this check-in; it has seen nothing of the stream unless a test says so."""
    envelope = parse_envelope(check_in)
    _, body = open_box(envelope.parts[0].box or b"", SEAL, envelope.place(0))
    told = CheckIn.parse(body)
    ack = Ack(envelope.header.stream, 0, NO_HASH, server_ms, told.nonce)
    return sign_ack(replace(ack, **changes), DEVICE, KEYS.sign)


def bodies(envelopes: list[Envelope], kind: EnvelopeType) -> list[bytes]:
    """The opened boxes of every envelope of a type."""
    found = [each for each in envelopes if each.header.type is kind]
    return [open_box(part.box or b"", SEAL, each.place(n))[1] for each in found for n, part in enumerate(each.parts)]


def grants(generation: int = 1, *kinds: str, **changes: Any) -> GrantSet:
    """A set with that one record."""
    return replace(kit.grant_set(generation, record(*kinds)), **changes)
