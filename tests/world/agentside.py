"""The car's half: the real agent over a disk that can fail, on clocks that are wrong, in a car that drives.

Law: the agent meets nothing here but its own interface. What it should keep is told to the ledger by the oracle.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from carnet.consent import Mode
from carnet_agent.buffer import Buffer, DiskFailed
from carnet_agent.buffer.files import open_buffer
from carnet_agent.buffer.tables import configure as configure_buffer
from carnet_agent.collect import Collector
from carnet_agent.consent.store import GrantStore
from carnet_agent.consent.store import configure as configure_grants
from carnet_agent.core import Agent
from carnet_agent.effects import Effect, Publish, SetIdentifiers
from carnet_agent.moment import Moment
from carnet_agent.unit import Unit
from tests.cloud.kit import KEYS
from tests.world.car import LOCATION, MESSAGE_OF, PRIVATE, Car, Frame, block, decoding
from tests.world.clockwork import Clockwork, PowerCut, law
from tests.world.disk import Disk
from tests.world.identity import FIRST, Identity
from tests.world.ledger import Ledger, Sample
from tests.world.truth import Item

CLASSES = {"background", "live", "event"}
BUFFER, CONSENT = "buffer.db", "consent.db"


@dataclass(frozen=True)
class Outage:
    """What a crash may have taken: samples of a boot captured from one BOOTTIME to another."""

    boot: int
    from_ms: float
    to_ms: float


@lru_cache(maxsize=4)
def _blank(buffer_bytes: int) -> dict[str, bytes]:
    """Empty databases, made once a process."""
    disk = Disk()
    configure_buffer(disk.open(BUFFER), buffer_bytes)
    configure_grants(disk.open(CONSENT))
    return disk.images()


class AgentSide:
    """``send(payload)`` takes what the agent publishes."""

    def __init__(
        self,
        clockwork: Clockwork,
        ledger: Ledger,
        car: Car,
        send: Callable[[bytes], None],
        buffer_bytes: int,
        first_boot: int = 0,
    ) -> None:
        """``first_boot``: so that no boot of one unit is one of another's."""
        self._clockwork, self._ledger, self._car, self._send = clockwork, ledger, car, send
        self._buffer_bytes = buffer_bytes
        self.disk = Disk()
        self.identity = FIRST
        self.agent: Agent | None = None
        self.online = False
        self.connection = 0
        self.outages: list[Outage] = []
        self.wall_offset_ms = 0
        self.synchronised = clockwork.chance(0.5)
        self.boots = self._first_boot = first_boot
        self.frames = 0
        self.is_parked = False
        self._boot_id = b""
        self._boot_true_ms = 0
        self._drift = 1.0
        self._effects_left: int | None = None
        self._reading: set[int] = set()
        self._true_of: dict[int, int] = {}
        self._granted: bytes | None = b""
        self._in_force: tuple[str, ...] = ()
        self._counted: Counter[str] = Counter()
        self._entries_seen: dict[str, list[str]] = {}
        self.ended: set[str] = set()
        self._known: list[tuple[int, dict[str, list[str]], set[str]]] = [(0, {}, set())]
        """From when on it had seen these entries and knew that these records have ended: a disk that lied goes back."""
        self._full_ms = (0, 0)
        """From when until when the disk was last full."""
        self._new_boot()

    # time

    def _new_boot(self) -> None:
        random = self._clockwork.random
        self.boots += 1
        self._boot_id = random.randbytes(8)
        self._boot_true_ms = self._clockwork.now_ms - random.randrange(1_000, 100_000)
        self._drift = 1 + random.uniform(-100e-6, 100e-6)
        self._true_of = {}

    def boot_ms(self, true_ms: int) -> int:
        """BOOTTIME at a true time of this boot."""
        return int((true_ms - self._boot_true_ms) * self._drift)

    def moment(self) -> Moment:
        now_ms = self._clockwork.now_ms
        honest = self.synchronised and not self.wall_offset_ms
        return Moment(self.boot_ms(now_ms), self._boot_id, now_ms + self.wall_offset_ms, honest)

    # life and death

    def start(self) -> None:
        """Power on, or the process begins again."""
        blank = _blank(self._buffer_bytes)
        buffer_db, consent_db = self.disk.open(BUFFER, blank[BUFFER]), self.disk.open(CONSENT, blank[CONSENT])
        configure_buffer(buffer_db, self._buffer_bytes)
        configure_grants(consent_db)
        random, who = self._clockwork.random.randbytes, self.identity
        self._buffer = Buffer(buffer_db, who.device, who.sign, random)
        self._store = GrantStore(consent_db, who.owner, random)
        self._consent_db = consent_db
        found = decoding()
        collector = Collector(found.plan, found.mapped)
        self._oracle = found.oracle()
        self._granted = b""
        self._car.frames_until(self._clockwork.now_ms)
        self.agent = Agent(
            Unit(who.device, who.sign, who.receive, KEYS.public),
            self._buffer,
            self._store,
            collector,
            found.identifiers,
            random,
        )
        self._regrant()
        self.do(self._begin)

    def _begin(self, agent: Agent) -> Sequence[Effect]:
        """A process that cannot begin ends, and is begun again."""
        try:
            return agent.on_start(self.moment())
        except DiskFailed:
            raise PowerCut from None

    @property
    def counted(self) -> Counter[str]:
        """The agent's counters of all its lives together."""
        now = Counter(self.agent.counters()) if self.agent is not None else Counter[str]()
        return self._counted + now

    def crash(self, *, power: bool, back_to: int | None = None) -> None:
        """The power goes, or only the process; ``back_to``: the disk had lied."""
        if self.agent is None:
            return
        for data in self.disk.images().values():
            self._ledger.hidden(data, "the unit's disk")
        self._counted += Counter(self.agent.counters())
        now_ms = self._clockwork.now_ms
        kept_ms = self.disk.crash(back_to)
        written_ms = now_ms if kept_ms is None else kept_ms
        if self._full_ms[0] <= written_ms < self._full_ms[1] + LOST_MS:
            # no checkpoint since: there was no room for one
            written_ms = self._full_ms[0]
        since_ms = self.boot_ms(written_ms) - LOST_MS
        self.outages.append(Outage(self.boots, since_ms, self.boot_ms(now_ms)))
        if kept_ms is not None:
            self.outages += [Outage(boot, 0, 1e15) for boot in range(self._first_boot, self.boots)]
            self._ledger.unit_generations[self._first_boot] = 0
            while self._known[-1][0] > kept_ms:
                self._known.pop()
            self._entries_seen, self.ended = dict(self._known[-1][1]), set(self._known[-1][2])
        self.agent = None
        self.online = False
        self._effects_left = None
        self._reading = set()
        if power:
            self._new_boot()

    def pair(self, identity: Identity, *, wiped: bool) -> None:
        """Somebody pairs the unit anew while it is off; without ``wiped`` the power went before its files were gone."""
        self.identity = identity
        if wiped:
            for name, image in _blank(self._buffer_bytes).items():
                self.disk.replace(name, image)
        self.disk.forget_kept()

    def clone(self, disk: Disk, identity: Identity) -> None:
        """Somebody has copied the card and the keys of another unit."""
        self.identity = identity
        for name, image in disk.images().items():
            self.disk.replace(name, image)

    def damage(self, folder: Path) -> None:
        """Some bytes of the buffer are others when it is opened next; the real opening is done on a real disk."""
        random, who, path = self._clockwork.random, self.identity, folder / BUFFER
        image = bytearray(self.disk.images().get(BUFFER) or self.disk.image(BUFFER))
        start = random.randrange(len(image))
        for at in range(start, min(len(image), start + random.choice([400, 4096, 8192]))):
            image[at] ^= random.randrange(1, 256)
        path.write_bytes(image)
        opened = open_buffer(path, who.device, who.sign, random.randbytes, self._buffer_bytes)
        self._clockwork.note("unit_salvaged" if opened.quarantined else "unit_damage_unseen")
        connection = opened.buffer._db
        connection.execute("pragma journal_mode=delete").fetchone()
        self.disk.replace(BUFFER, connection.serialize())
        self.disk.forget_kept()
        self._ledger.is_damaged = True
        connection.close()
        for file in folder.glob(f"{BUFFER}*"):
            file.unlink()
        self.outages += [Outage(boot, 0, 1e15) for boot in range(self._first_boot, self.boots)]

    def fill(self, length_ms: int) -> None:
        """The disk is full for so long."""
        self._full_ms = (self._clockwork.now_ms, self._clockwork.now_ms + length_ms)
        self.disk.is_full = True
        self._clockwork.at(length_ms, "room again", self._has_room)

    def _has_room(self) -> None:
        self.disk.is_full = False

    def no_more_cuts(self) -> None:
        """From now on the power stays."""
        self._effects_left = None

    def park(self) -> None:
        """The car stops sending; what is open is written."""
        self.is_parked = True
        self.do(lambda agent: agent.flush("ignition_off", self.moment()))

    def cut_at_effect(self, effects: int) -> None:
        """Cut the power after so many more effects."""
        self._effects_left = effects

    def do(self, call: Callable[[Agent], Sequence[Effect]]) -> None:
        """Let the agent work, carry out what it asks; the power may go at any commit and between two effects."""
        if self.agent is None:
            return
        try:
            effects = call(self.agent)
            self._regrant()
            self._look_at_force(self.agent)
            self._carry_out(effects)
        except PowerCut:
            self._clockwork.note("agent_cut_at_effect" if self._effects_left == 0 else "agent_cut_at_commit")
            self.on_cut()
        except DiskFailed:
            # as the service does: it is said, and the loop goes on
            self._clockwork.note("unit_disk_refused")

    def _look_at_force(self, agent: Agent) -> None:
        """When the clock ends a record its columns end too, and take no frame that was still to be read."""
        gone = set(self._in_force) - set(agent._in_force)
        self._in_force = agent._in_force
        # the unit takes the latest time that it may be, and its clock may be a minute in doubt
        known = agent._clock.interval(self.moment())
        latest_ms = max(known[1] if known else 0, self._clockwork.now_ms)
        if any(self._ledger.agreed[record].expires_ms <= latest_ms + DRAIN_MS for record in gone):
            now_ms = self.boot_ms(self._clockwork.now_ms)
            self.outages.append(Outage(self.boots, now_ms - DRAIN_MS, now_ms))

    def on_cut(self) -> None:
        """What the world does about a cut; set by it."""
        raise NotImplementedError

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if self._effects_left is not None:
                if self._effects_left == 0:
                    raise PowerCut
                self._effects_left -= 1
            if isinstance(effect, Publish):
                self._ledger.published(effect.payload, self._schemas(), self._first_boot)
                self._send(effect.payload)
            elif isinstance(effect, SetIdentifiers):
                self._listen({can_id for found in effect.identifiers.values() for can_id, _ in found})

    def _schemas(self) -> dict[bytes, bytes]:
        return {digest: self._buffer.schema(digest) or b"" for digest in self._buffer.schema_hashes()}

    def _listen(self, identifiers: set[int]) -> None:
        """Law 1: the kernel lets through only frames in which something is granted."""
        wanted = {MESSAGE_OF[item["path"]] for items in self._grants().values() for item in items}
        law(identifiers <= wanted, "law 1: the unit reads frames in which nothing is granted")
        self._reading = identifiers

    # driving

    def drive(self) -> None:
        """The frames since the last call, and a tick."""
        now_ms = self._clockwork.now_ms
        frames = [] if self.is_parked else self._car.frames_until(now_ms)
        if self.agent is None:
            return
        self.frames += len(frames)
        read = [frame for frame in frames if frame.can_id in self._reading]
        if read:
            self._feed(read)
            times = [self.boot_ms(frame.true_ms) for frame in read]
            self.do(lambda agent: agent.on_frames(block(read, times), self.moment()))
        self.tick()

    def tick(self) -> None:
        self.do(lambda agent: agent.on_tick(self.moment()))

    def _feed(self, frames: list[Frame]) -> None:
        for frame in frames:
            boot_ms = self.boot_ms(frame.true_ms)
            self._true_of[boot_ms] = frame.true_ms
            self._oracle.feed((boot_ms * 1_000_000, frame.can_id, frame.extended, frame.data))
        self._collect(self.boot_ms(self._clockwork.now_ms))

    def _collect(self, boot_ms: int) -> None:
        self._oracle.cut(boot_ms, CLASSES)
        for (record, _, path, transform, _), found in self._oracle.result.items():
            for at_ms, value in found:
                sample = Sample(self._true_of[at_ms], self.boots, at_ms)
                self._ledger.keep(record, path, self._spelling[transform], float(value), sample)
        self._oracle.result.clear()

    # what the oracle is told about grants: from the documents on the disk and the owner's own acts

    def set_mode(self, mode: Mode) -> None:
        self.do(lambda agent: agent.set_mode(mode, self.moment()))

    def _regrant(self) -> None:
        row = self._consent_db.execute("select value from meta where name = 'grant_set'").fetchone()
        found = (bytes(row[0]) if row else b"") + self._store.mode.value.encode()
        if found == self._granted:
            return
        self._granted = found
        grants = self._grants()
        self._known.append((self._clockwork.now_ms, dict(self._entries_seen), set(self.ended)))
        self._spelling = {repr(item["transform"]): item["transform"] for items in grants.values() for item in items}
        boot_ms = self.boot_ms(self._clockwork.now_ms)
        self._oracle.set_grants(grants, boot_ms, {name for name in grants if self._ledger.agreed[name].is_sealed})
        self._collect(boot_ms)

    def _grants(self) -> dict[str, list[Item]]:
        """Record -> items, as far as the documents on the disk are the owner's, none is older than one seen, and the
        driver allows it.
        """
        row = self._consent_db.execute("select value from meta where name = 'grant_set'").fetchone()
        grant_set = json.loads(bytes(row[0])) if row else {"records": [], "ended": []}
        self.ended.update(one["id"] for one in grant_set["ended"])
        # a record that a set has no more has ended
        self.ended.update(self._entries_seen.keys() - {_payload(one["record"])["id"] for one in grant_set["records"]})
        mode = self._store.mode
        found: dict[str, list[Item]] = {}
        for one in grant_set["records"]:
            record = _payload(one["record"])["id"]
            agreed = self._ledger.agreed.get(record)
            events = one["events"]
            if agreed is None or agreed.token != one["record"] or record in self.ended:
                continue
            if agreed.epoch != self._ledger.epoch:
                # the seller's, which a cloud that lies holds out to the buyer's unit
                continue
            seen = self._entries_seen.get(record, [])
            if events[: len(seen)] != seen:
                continue
            self._entries_seen[record] = events
            kinds = [_payload(event)["event"] for event in events]
            if not kinds or kinds[-1] in {"resume", "renew"}:
                found[record] = _narrowed(agreed.items, mode)
        return found


DRAIN_MS = 1_000
"""Between two readings of the bus."""
LOST_MS = 10_000 + 2_500
"""Loss bound: a checkpoint every ten seconds, at a tick."""


def _narrowed(items: list[Item], mode: Mode) -> list[Item]:
    """Items as the oracle reads them, without what the driver's mode keeps in the car."""
    barred = {Mode.NORMAL: set(), Mode.NO_LOCATION: LOCATION, Mode.GUEST: PRIVATE}.get(mode, set(MESSAGE_OF))
    kept = [item for item in items if item["path"] not in barred]
    needed = {when["path"] for item in kept for when in item["when"]}
    return [
        {**item, "condition": item["need"] == "condition"}
        for item in kept
        if item["need"] != "condition" or item["path"] in needed
    ]


def _payload(entry: str) -> dict[str, str]:
    """What a signed token or an operator's entry says."""
    if not entry.startswith("{"):
        part = entry.split(".")[1]
        entry = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
    found: dict[str, str] = json.loads(entry)
    return found
