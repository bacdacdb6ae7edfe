"""The real agent core and the real receiver core on one clock, and a line between them that can be cut or lose things.

Law: what is lost is named by its kind, so that a test can lose every one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from carnet.ack import NO_NONCE, Ack
from carnet.down import GrantSetMessage, SchemaRequest, open_down
from carnet.envelope import parse_envelope
from carnet.topics import topic_up
from carnet_cloud.catalogue import Catalogue, read_entries
from carnet_cloud.core import Receiver
from carnet_cloud.push import Pusher
from tests import consentkit as kit
from tests.agent.agentkit import OFFER, RECEIVE, SIGN, Rig
from tests.cloud.kit import DEVICE, KEYS, NOW_MS, Cloud
from tests.cloud.kit import Unit as SealingUnit
from tests.conftest import CHECKOUT
from tests.world.cloudkeys import CHANGING


class World:
    """One car, one cloud, and a perfect line between them that can be cut."""

    cloud: Cloud
    pusher: Pusher

    def __init__(self, folder: Path, *, beside: World | None = None) -> None:
        """``beside``: the cloud is that of another one, whose unit this one's is a copy of."""
        self.rig = Rig(NOW_MS, seed=7 if beside is None else 9)
        if beside is None:
            self._found_cloud(folder)
        else:
            self.cloud, self.pusher = beside.cloud, beside.pusher
        self.losing: Counter[str] = Counter()
        """How many of each kind are still to be lost."""
        self.lost: Counter[str] = Counter()
        self.token = ""
        """What the owner has given."""
        self.rig.start()
        self.online = False

    def _found_cloud(self, folder: Path) -> None:
        mapping = (CHECKOUT / "dbc" / "carnet_demo.map.toml").read_bytes()
        self.cloud = Cloud(folder, catalogue=Catalogue(read_entries(mapping, "carnet_demo.map.toml")))
        self.cloud.enrol(SealingUnit(key=SIGN, receive=RECEIVE))
        self.pusher = Pusher(self.cloud.store, KEYS.sign, self.rig.random.randbytes)
        self.cloud.receiver = Receiver(
            self.cloud.store,
            KEYS,
            self.cloud.outlet,
            self.rig.random.randbytes,
            self.pusher.seen,
            self.pusher.behind,
        )

    def connect(self, up: bool = True) -> None:
        self.online = up
        self.rig.connect(up)
        self.exchange()

    def drive(self, seconds: int) -> None:
        for _ in range(seconds):
            self.rig.pass_time(1000)
            self.exchange()

    def exchange(self) -> None:
        """Carry what was published to the cloud and its answers back, until nobody says anything more."""
        self.cloud.clock.ms = self.rig.wall_ms
        for vehicle in self.cloud.changed:
            self.pusher.changed(vehicle)
        self.cloud.changed.clear()
        pushed = self.pusher.due(self.rig.wall_ms)
        if not self.online:
            self.rig.take()
            return
        for _, payload in pushed:
            self._down(payload)
        while payloads := self.rig.take():
            messages = [(topic_up(DEVICE), each) for each in payloads if not self._loses(up_kind(each))]
            for _, answer in self.cloud.receiver.process(messages, self.rig.wall_ms):
                self._down(answer)

    def lose(self, kinds: Mapping[str, int]) -> None:
        """The next so many messages of these kinds do not arrive."""
        self.losing.update(kinds)

    def _down(self, payload: bytes) -> None:
        if not self._loses(down_kind(payload)):
            self.rig.hear(payload)

    def _loses(self, kind: str) -> bool:
        if self.losing[kind] <= 0:
            return False
        self.losing[kind] -= 1
        self.lost[kind] += 1
        return True

    def give(self, record: str = kit.RECORD_ID) -> str:
        self.cloud.offers.publish(OFFER)
        self.token = kit.token(OFFER, optional=(1,), id=record)
        self.cloud.consents.give(self.token, kit.VEHICLE)
        return self.token

    def withdraw(self, token: str, record: str = kit.RECORD_ID) -> None:
        self.cloud.consents.event(kit.event("withdraw", [token], self.rig.wall_ms, record=record), record)

    def samples(self) -> dict[str, list[int]]:
        """Path -> capture times of everything that lies in the outbox for the recipient."""
        found: dict[str, list[int]] = {}
        for event in self.cloud.events():
            for column in event["data"]["columns"]:
                found.setdefault(column["path"], []).extend(column["t_ms"])
        return found


def up_kind(payload: bytes) -> str:
    """What a message of the car is: ``check_in``, or the name of its envelope type."""
    header = parse_envelope(payload).header
    return header.type.name.lower() if header.seq else "check_in"


def down_kind(payload: bytes) -> str:
    """What a message of the cloud is."""
    message = open_down(payload, DEVICE, CHANGING.public.signing_keys, RECEIVE)
    if isinstance(message, Ack):
        return "acknowledgement" if message.nonce == NO_NONCE else "answer"
    return {GrantSetMessage: "grant_set", SchemaRequest: "schema_request"}.get(type(message), "other")
