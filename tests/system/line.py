"""One car and one cloud over a real Mosquitto, on one pretended clock: the product's cores, shells and files.

Law: nothing of the product is replaced but the clock and the bus. A step ends when nobody has anything more to say, so
every run is the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from unittest.mock import patch

import numpy as np

from carnet import canonical, jws
from carnet.grants import Grant
from carnet.narrowing import Ceiling, Mode
from carnet.signals import DeliveryClass
from carnet.topics import topic_up
from carnet_agent import assembly, compiled
from carnet_agent.collect import Collector, Cut
from carnet_agent.core import Agent
from carnet_agent.effects import Effect, Identifiers, Publish, SetIdentifiers
from carnet_agent.frames import EXTENDED, Frames
from carnet_agent.identity import Identity
from carnet_agent.moment import Moment
from carnet_agent.mqtt import Arrived, Up
from carnet_agent.mqtt import BrokerLink as AgentLink
from carnet_cloud.catalogue import Catalogue, read_entries
from carnet_cloud.config import MqttSection
from carnet_cloud.consents import Consents, Ended, Waits
from carnet_cloud.core import Receiver
from carnet_cloud.enqueue import Outlet
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.grantbook import GrantBook
from carnet_cloud.journal import Journal
from carnet_cloud.lease import Leases
from carnet_cloud.mqtt import BrokerLink as CloudLink
from carnet_cloud.offers import Offers
from carnet_cloud.push import Pusher
from carnet_cloud.recipients import JsonLines
from carnet_cloud.store import SqliteStore
from carnet_cloud.store.devices import Device
from carnet_cloud.wrapping import Wrapping
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, KEYS, VEHICLE, log_at_once
from tests.cloud.kit import Unit as Keys
from tests.conftest import CHECKOUT, shared_data
from tests.system.mosquitto import HOST, Mosquitto

BOOT_ID: Final = b"bootboot"
START_MS: Final = 3_600_000
"""BOOTTIME when a run begins."""
WALL_MS: Final = kit.GIVEN_MS + kit.DAY_MS - START_MS
"""Wall time minus BOOTTIME."""
WAIT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Bus:
    """A bus of a capture, with the name of its DBC in the shared data and of the mapping file in ``dbc/``."""

    name: str
    dbc: str

    @property
    def database(self) -> Path:
        return shared_data() / "dbc" / f"{self.dbc}.dbc"

    @property
    def mapping(self) -> Path:
        return CHECKOUT / "dbc" / f"{self.dbc}.map.toml"


@dataclass
class Script:
    """What a collector was told, so that an oracle can be told the same: ``grants``, ``cut`` and ``frames``."""

    entries: list[tuple[str, int, Any]] = field(default_factory=list)
    """(what, BOOTTIME in ms, record ids | (classes, ending) | slice of the frames)."""


def watched(script: Script, lie: Callable[[Grant], Grant]) -> type[Collector]:
    """The collector, noting when its windows close; ``lie`` changes each grant before it sees it."""

    class Watched(Collector):
        def set_grants(
            self, grants: Sequence[Grant], mode: Mode, ceiling: Ceiling, boot_ms: int, *, now_ms: int | None = None
        ) -> list[Cut]:
            given = frozenset(grant.record_id for grant in grants if now_ms is None or grant.allows(now_ms))
            script.entries.append(("grants", boot_ms, given))
            return super().set_grants([lie(grant) for grant in grants], mode, ceiling, boot_ms, now_ms=now_ms)

        def cut(
            self, boot_ms: int, classes: Collection[DeliveryClass] | None = None, *, ending: bool = False
        ) -> list[Cut]:
            chosen = {str(each) for each in (DeliveryClass if classes is None else classes)}
            script.entries.append(("cut", boot_ms, (chosen, ending)))
            return super().cut(boot_ms, classes, ending=ending)

    return Watched


class Car:
    """The agent's core over its files, its broker link, and a bus that gives only what was asked for."""

    def __init__(
        self, folder: Path, port: int, buses: Sequence[Bus], match: str, script: Script, lie: Callable[[Grant], Grant]
    ) -> None:
        config = folder / "agent.toml"
        config.write_text(_agent_toml(port, buses, match))
        made = compiled.compile_now(config)
        unit = Keys()
        identity = Identity(unit.device, unit.key, unit.receive, kit.OWNER, KEYS.public)
        with patch.object(assembly, "Collector", watched(script, lie)):
            self.agent: Agent = assembly.make_agent(made, identity, random.Random(11).randbytes)
        self.link = AgentLink(made.settings.mqtt, DEVICE)
        self.identifiers: Identifiers = {}
        self.sent = 0
        self.heard = 0
        self._buses = made.plan.buses
        self._pgn = match == "pgn"

    def do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Publish):
                assert self.link.send(effect.payload)
                self.sent += 1
            elif isinstance(effect, SetIdentifiers):
                self.identifiers = effect.identifiers

    def admitted(self, frames: Frames) -> Frames:
        """What a kernel filter would let through: by parameter group more than the very identifiers."""
        mask = np.zeros(len(frames), bool)
        for number, name in enumerate(self._buses):
            wanted = {(can_id, extended) for can_id, extended in self.identifiers.get(name, ())}
            on_bus = np.flatnonzero(frames.bus == number)
            for at in on_bus.tolist():
                extended = bool(frames.flags[at] & EXTENDED)
                mask[at] = (int(frames.can_id[at]), extended) in wanted or (self._pgn and bool(wanted))
        return frames.take(mask)


class Cloud:
    """Store, gate, receiver and forwarders over files, and the cloud's broker link."""

    def __init__(self, folder: Path, port: int, buses: Sequence[Bus], recipients: Sequence[str]) -> None:
        source = random.Random(12)
        self.now_ms = START_MS + WALL_MS
        self.store = SqliteStore.open(folder / "store" / "cloud.db", incarnation=b"i" * 16, now_ms=self.now_ms)
        journal = Journal(folder / "journal" / "narrowings", self.store.incarnation, new_store=True)
        wrapping = Wrapping(folder / "wrapping", source.randbytes)
        book, leases = GrantBook(recipients), Leases()
        entries = [each for bus in buses for each in read_entries(bus.mapping.read_bytes(), bus.mapping.name)]
        catalogue = Catalogue(entries)
        outlet = Outlet(book, catalogue, wrapping, b"p" * 32, source.randbytes)
        self.receiver = Receiver(self.store, KEYS, outlet, source.randbytes)
        self.pusher = Pusher(self.store, KEYS.sign, source.randbytes)
        clocks = Clocks(lambda: self.now_ms, lambda: float(self.now_ms), source.random)
        waits = Waits(clocks.now_ms, clocks.monotonic_ms, lambda: None)
        log = log_at_once(self.store, folder / "journal", source.randbytes, clocks.now_ms, self.pusher.changed)
        self.consents = Consents(self.store, journal, leases, waits, self.pusher.changed, *log)
        self.offers = Offers(self.store, catalogue, dict.fromkeys(recipients, kit.RECIPIENT_NAME), waits.now_ms)
        self.files = {name: folder / f"{name}.jsonl" for name in recipients}
        self._adapters = {name: JsonLines(path) for name, path in self.files.items()}
        self._forwarder = Forwarder(self.store, self._adapters, wrapping, leases, book.may_send, clocks, b"line----")
        self.held_up: set[str] = set()
        """Recipients that nothing is forwarded to at present."""
        self.link = CloudLink(MqttSection(host=HOST, port=port), "line-receiver")
        self.taken = 0
        self.sent = 0
        unit = Keys()
        with self.store.transaction() as t:
            device = Device(unit.device, VEHICLE, kit.TENANT, 1, unit.key.public, unit.receive.public, "active")
            t.devices.add(device, self.now_ms)
            t.devices.pin_owner_key(VEHICLE, 1, jws.thumbprint(kit.OWNER_KEY.public), kit.OWNER_KEY.public)

    def forward(self) -> None:
        for name in sorted(self.files.keys() - self.held_up):
            while self._forwarder.step(name):
                pass

    def counters(self) -> dict[str, int]:
        with self.store.transaction() as t:
            return t.counters.all()

    def close(self) -> None:
        for adapter in self._adapters.values():
            adapter.close()
        self.store.close()


class Line:
    """Car, broker and cloud. ``records``: record id -> offer document; each is given before the run begins."""

    def __init__(
        self,
        folder: Path,
        buses: Sequence[Bus],
        match: str,
        offers: dict[str, dict[str, Any]],
        lie: Callable[[Grant], Grant] = lambda grant: grant,
    ) -> None:
        self.script = Script()
        self.boot_ms = START_MS
        self._broker = Mosquitto(folder)
        self._ends = ExitStack()
        port = self._broker.port
        self.car = Car(folder, port, buses, match, self.script, lie)
        self.cloud = Cloud(folder, port, buses, [offer["recipient"] for offer in offers.values()])
        self._offers = offers
        self._tokens: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            ends.callback(self.cloud.close)
            ends.enter_context(self._broker)
            self.cloud.link.start()
            ends.callback(self.cloud.link.stop)
            assert self.cloud.link.connected.wait(WAIT_S)
            self.car.link.start()
            ends.callback(self.car.link.stop)
            self._wait_for(lambda: any(isinstance(event, Up) for event in self.car.link.take()))
            self._probe()
            self.car.do(self.car.agent.on_start(self.moment()))
            self.car.do(self.car.agent.on_connection(True, self.moment()))
            self.settle()
            self._give()
            self.settle()
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def moment(self) -> Moment:
        """The unit has no clock of its own: it learns the time from the cloud's answers."""
        return Moment(self.boot_ms, BOOT_ID, 0)

    def step(self, frames: Frames, boot_ms: int) -> None:
        """Time goes on to ``boot_ms``; ``frames`` are all that were captured since."""
        self.boot_ms, self.cloud.now_ms = boot_ms, boot_ms + WALL_MS
        admitted = self.car.admitted(frames)
        if len(admitted):
            self.car.do(self.car.agent.on_frames(admitted, self.moment()))
        self.car.do(self.car.agent.on_tick(self.moment()))
        self.settle()

    def stop(self) -> None:
        """The unit shuts down and has time to send."""
        self.car.do(self.car.agent.flush("stop", self.moment()))
        self.settle()

    def withdraw(self, record: str) -> Ended:
        """The owner withdraws; when this returns nothing more may go out under the record."""
        entry = kit.event("withdraw", [self._tokens[record]], self.cloud.now_ms, record=record)
        ended = self.cloud.consents.event(entry, record)
        assert isinstance(ended, Ended)
        return ended

    def settle(self) -> None:
        """Carry everything through the broker, both ways, until nobody has anything more to say; then forward."""
        while True:
            self._publish(self.cloud.pusher.due(self.cloud.now_ms))
            if self.cloud.taken == self.car.sent and self.car.heard == self.cloud.sent:
                break
            self._to_cloud()
            self._to_car()
        self.cloud.forward()

    def _to_cloud(self) -> None:
        end = time.monotonic() + WAIT_S
        while self.cloud.taken < self.car.sent:
            assert time.monotonic() < end, "an envelope did not come through the broker"
            group = self.cloud.link.take(self.car.sent - self.cloud.taken, 0.2)
            self.cloud.taken += len(group)
            self._publish(self.cloud.receiver.process(group, self.cloud.now_ms) if group else [])

    def _to_car(self) -> None:
        def hear() -> bool:
            for event in self.car.link.take():
                assert isinstance(event, Arrived)
                self.car.heard += 1
                self.car.do(self.car.agent.on_down(event.payload, self.moment()))
            return self.car.heard == self.cloud.sent

        self._wait_for(hear)

    def _publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        for message in messages:
            self.cloud.link.publish(message)
            self.cloud.sent += 1

    def _probe(self) -> None:
        """Until the cloud's subscription stands, what the car says is said to nobody."""
        end = time.monotonic() + WAIT_S
        sent = got = 0
        while not got:
            assert time.monotonic() < end, "the cloud hears nothing"
            self.cloud.link.publish((topic_up(DEVICE), b"probe"))
            sent += 1
            got = len(self.cloud.link.take(1, 0.0))
        while got < sent and self.cloud.link.take(1, 0.0):
            got += 1

    def _give(self) -> None:
        for record, document in self._offers.items():
            offer = canonical.encode(document)
            self.cloud.offers.publish(offer)
            optional = tuple(n for n, item in enumerate(document["items"]) if item["need"] == "optional")
            self._tokens[record] = kit.token(offer, id=record, optional=optional)
            self.cloud.consents.give(self._tokens[record], kit.VEHICLE)

    def _wait_for(self, happened: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT_S
        while not happened():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.0005)


def _agent_toml(port: int, buses: Sequence[Bus], match: str) -> str:
    text = f'[unit]\nstate = "agent"\n[mqtt]\nhost = "{HOST}"\nport = {port}\n'
    for bus in buses:
        text += f'[[bus]]\nname = "{bus.name}"\nchannel = "{bus.name}"\nmatch = "{match}"\n'
        text += f'dbc = ["{bus.database}"]\nmapping = ["{bus.mapping}"]\n'
    return text
