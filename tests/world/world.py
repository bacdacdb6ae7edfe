"""A car, its owner, a network, a cloud and its recipients in one thread, on one virtual clock, out of one seed."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Collection
from functools import partial
from pathlib import Path

from carnet.consent import Mode
from tests import consentkit as kit
from tests.cloud.kit import KEYS
from tests.world.agentside import DRAIN_MS, AgentSide
from tests.world.broker import Broker
from tests.world.car import Car
from tests.world.clockwork import Clockwork
from tests.world.cloudside import CloudSide
from tests.world.identity import BUYER
from tests.world.ledger import Ledger
from tests.world.listeners import Listener
from tests.world.mischief import Mischief
from tests.world.owner import GARAGE, INSURER, MAP, Owner
from tests.world.plan import DRIVE_MS, Plan
from tests.world.rarities import node_count
from tests.world.reckoning import CLONE_BOOT, reckon
from tests.world.truth import Agreed

START_MS = kit.GIVEN_MS + kit.DAY_MS
CLONE = 1
HOUR_MS = 3_600_000
HEAL_MS = 1_200_000
"""Within this after healing everything must have arrived."""
SMALL_BYTES, LARGE_BYTES = 68 << 10, 4 << 20


class World:
    """One seed. `run` raises Broken when a law does not hold."""

    def __init__(self, seed: int, without: Collection[int] = (), drive_ms: int = DRIVE_MS) -> None:
        """``without``: numbers of the plan that are left out; ``drive_ms``: how long the car drives."""
        self.seed = seed
        self.clockwork = clockwork = Clockwork(seed, START_MS)
        self._random = random = clockwork.random
        self._folder = Path(tempfile.mkdtemp(prefix="carnet-world-"))
        self.agreed: dict[str, Agreed] = {}
        self._car = car = Car(random, START_MS)
        self.slept_ms = 0
        self.clone: AgentSide | None = None
        self.ledger = Ledger(clockwork, self.agreed, car.vin)
        self.plan = Plan(clockwork, without, drive_ms)
        self.broker = Broker(clockwork)
        self.healed = False
        small = clockwork.chance(0.25)
        self.unit = AgentSide(clockwork, self.ledger, car, self._up, SMALL_BYTES if small else LARGE_BYTES)
        self.unit.on_cut = self._unit_cut  # type: ignore[method-assign]
        self.listeners = {name: Listener(name, clockwork, self.ledger) for name in (INSURER, GARAGE, MAP)}
        self.cloud = CloudSide(clockwork, self.ledger, self._folder, self.listeners, self.down)
        self.cloud.on_cut = self.cloud_cut  # type: ignore[method-assign]
        self.owner = Owner(clockwork, self.cloud, self.ledger)

    def close(self) -> None:
        """Remove what is on a real disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    # the network

    def _up(self, payload: bytes) -> None:
        if self.unit.online:
            self.broker.take("up", payload, partial(self.cloud.arrive, device=self.unit.identity.device))

    def down(self, payload: bytes) -> None:
        self.ledger.hidden(payload, "a down message")
        self.broker.take("down", payload, self.arrive_down)

    def arrive_down(self, payload: bytes) -> None:
        for unit in [self.unit, self.clone] if self.clone else [self.unit]:
            if unit.online:
                unit.do(lambda agent, of=unit: agent.on_down(payload, of.moment()))  # type: ignore[misc]

    def connect(self) -> None:
        """The broker is there again."""
        if self.unit.agent is not None and not self.unit.online:
            self.unit.online = True
            self.unit.do(lambda agent: agent.on_connection(True, self.unit.moment()))

    def disconnect(self) -> None:
        if self.unit.online:
            self.unit.online = False
            self.clockwork.note("outage")
            self.unit.do(lambda agent: agent.on_connection(False, self.unit.moment()))

    # crashes

    def _unit_cut(self) -> None:
        self.unit_down(power=True)

    def unit_down(self, *, power: bool, back_to: int | None = None) -> None:
        self.unit.crash(power=power, back_to=back_to)
        self.clockwork.note("agent_crash")
        self.clockwork.at(self._random.randrange(500, 8_000), "power on", self._unit_up)

    def _unit_up(self) -> None:
        if self.unit.agent is not None:
            return
        self.unit.start()
        self.clockwork.at(self._random.randrange(100, 3_000), "connect", self.connect)

    def cloud_cut(self) -> None:
        self.clockwork.note("cloud_crash")
        self.clockwork.at(self._random.randrange(300, 5_000), "cloud up", self.cloud_up)

    def cloud_up(self) -> None:
        if not self.cloud.is_up:
            self.cloud.start()

    def cloud_stops(self) -> None:
        if self.cloud.is_up:
            self.cloud.crash()
            self.cloud_cut()

    def sell(self, *, wiped: bool) -> None:
        """Somebody pairs the unit for the buyer, and brings the file to the cloud."""
        self.unit_down(power=False)
        self.unit.pair(BUYER, wiped=wiped)
        self.ledger.sold(BUYER.epoch)
        self.owner.sell(BUYER)

    def begin_clone(self) -> None:
        """A thief puts a copy of the unit, with its keys, into a car of his own."""
        who, now_ms = self.unit.identity, self.clockwork.now_ms
        self.ledger.cloned_ms = now_ms
        send = partial(self.broker.take, "up", arrive=partial(self.cloud.arrive, device=who.device))
        car = Car(self._random, now_ms, CLONE)
        car.vin = self._car.vin
        self.clone = clone = AgentSide(self.clockwork, self.ledger, car, send, LARGE_BYTES, CLONE * CLONE_BOOT)
        clone.clone(self.unit.disk, who)
        clone.on_cut = partial(clone.crash, power=True)  # type: ignore[method-assign]
        clone.start()
        clone.online = True
        clone.do(lambda agent: agent.on_connection(True, clone.moment()))
        self.clockwork.every(DRAIN_MS, "clone drives", clone.drive)

    def damage(self) -> None:
        """The power goes, and then bytes on the disk are others."""
        self.unit_down(power=True)
        self.unit.damage(self._folder)

    def night(self, hours: int) -> None:
        """The car stands in its garage, without power; the cloud keeps house every hour."""
        self.unit_down(power=True)
        for _ in range(hours):
            self.clockwork.leap(HOUR_MS)
            self._car.sleep(HOUR_MS)
            self.slept_ms += HOUR_MS
            self.cloud.keep_house()

    # the run

    def clock_right(self) -> None:
        self.unit.wall_offset_ms = 0

    def run(self) -> Counter[str]:
        """Drive, heal, and see that everything adds up; how often what happened."""
        clockwork = self.clockwork
        self.cloud.node_count = node_count(self.seed)
        self.cloud.start()
        self.unit.start()
        Mischief(self).plan()
        clockwork.at(self._random.randrange(100, 5_000), "connect", self.connect)
        clockwork.every(DRAIN_MS, "drive", self.unit.drive)
        clockwork.every(250, "receive", self.cloud.receive)
        clockwork.every(1_000, "sequence", self.cloud.sequence)
        if self.cloud.node_count > 1:
            clockwork.every(1_000, "share", self.cloud.share)
        for name in self.listeners:
            clockwork.every(1_000, "forward", lambda to=name: self.cloud.forward(to))  # type: ignore[misc]
        clockwork.every(10_000, "images", self._images)
        while clockwork.now_ms < (until_ms := START_MS + self.plan.drive_ms + self.slept_ms):
            clockwork.run(until_ms)
        self._heal()
        reckon(self)
        return clockwork.happened

    def _images(self) -> None:
        if self.unit.agent is not None:
            self.unit.disk.keep(self.clockwork.now_ms)
        if self.cloud.is_up and not self.cloud.busy:
            self.cloud.disk.keep(self.clockwork.now_ms)
            self.cloud.look()

    def _heal(self) -> None:
        """No faults any more; but nobody reconnects a connection that stands."""
        self.healed = True
        self.broker.heal()
        self.cloud.has_room()
        self.unit.disk.cut_at_commit(1 << 30, after=False)
        self.cloud.disk.cut_at_commit(1 << 30, after=False)
        self.unit.no_more_cuts()
        if self.clone is not None:
            self.clone.crash(power=True)
        self.cloud.no_more_cuts()
        self.cloud.logs_again_ms = 0
        for listener in self.listeners.values():
            listener.temper = {}
            listener.freezes.clear()
        self.unit.set_mode(Mode.NORMAL)
        self.clock_right()
        if not self.cloud.is_up:
            self.cloud_up()
        if self.unit.agent is None:
            self._unit_up()
        elif not self.unit.online:
            self.connect()
        elif self.clockwork.chance(0.3):
            self.disconnect()
            self.connect()
        else:
            self.clockwork.note("healed_without_reconnect")
        self.clockwork.run(self.clockwork.now_ms + 10_000)
        self.connect()
        self.owner.look()
        self.unit.park()
        until_ms = self.clockwork.now_ms + HEAL_MS
        while self.clockwork.now_ms < until_ms and not self._is_quiet():
            self.clockwork.run(self.clockwork.now_ms + 5_000)
        if self.cloud.keys is not KEYS:
            # nobody pushes keys: the next check-in brings them
            self.disconnect()
            self.connect()
            self.clockwork.run(self.clockwork.now_ms + 5_000)

    def _is_quiet(self) -> bool:
        """Nothing is on its way any more."""
        agent = self.unit.agent
        assert agent is not None
        if not self.cloud.is_up:
            return False
        if agent.counters()["rows_waiting"] and not self.cloud.is_quarantined:
            return False
        with self.cloud.store.transaction() as t:
            depth = t.outbox.depth()
        return not depth.get("queued") and not depth.get("leased")
