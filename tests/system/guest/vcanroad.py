"""A road whose unit listens to vcan0: the agent, a broker, a cloud and an owner as programs inside the guest."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from tests.agent.candatagrams import classic
from tests.system.guest.vcan import INTERFACE, Peer, transmitted
from tests.system.road import AGENT, OFFER, Road, until

WAIT_S = 60.0
"""The guest's system calls are slow."""
WHEEL_SPEEDS = 0x110
FRONT_LEFT = "Vehicle.Chassis.Axle.Row1.Wheel.Left.Speed"
BUS = """
[[bus]]
name = "can0"
channel = "{channel}"
dbc = ["{dbc}"]
mapping = ["{mapping}"]
"""
ITEM = {"path": FRONT_LEFT, "need": "required", "transform": {}, "class": "event", "when": []}
"""Every sample as it is, sent at once."""


class VcanRoad(Road):
    """A road whose unit listens to vcan0."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        bus = BUS.format(channel=INTERFACE, dbc=self.car.dbc, mapping=self.car.mapping)
        (folder / "agent.toml").write_text(AGENT.format(mqtt=self.broker.port) + bus)
        self.record = ""
        self.sent = transmitted()
        """Frames that vcan0 has transmitted if the agent sends none."""

    def begin(self) -> None:
        """Everything runs and the agent is connected; nothing is granted."""
        self.prepare([{**OFFER, "items": [ITEM]}])
        self.start_agent()
        until(lambda: self.facts().get("broker", {}).get("connections", 0), self.logs, WAIT_S)

    def give(self) -> None:
        """One yes, until the kernel hands out what was granted."""
        self.record = self.owner("grant", str(OFFER["id"]))["record"]
        until(lambda: kernel_filters() != [], self.logs, WAIT_S)

    def speeds(self) -> list[int]:
        """What the recipient has got, in hundredths of a kilometre per hour; sorted, as events may change places."""
        path = self.folder / "workshop" / "events.jsonl"
        events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        columns = [column for event in events for column in event["data"]["columns"]]
        assert {column["path"] for column in columns} <= {FRONT_LEFT}
        return sorted(round(value * 100) for column in columns for value in column["v"])

    def bus(self) -> dict[str, int]:
        """What the agent's reader counted."""
        return {"error_frames": 0, "frames": 0, "dropped": 0, "interrupted": 0, **self.facts()["buses"]["can0"]}

    def put(self, *frames: bytes) -> None:
        """Send them; every socket that wants them has them when this returns."""
        peer = Peer()
        peer.send(*frames)
        peer.close()
        self.sent += len(frames)

    def deliver(self, *speeds: int) -> None:
        """Put the speeds on the bus, among frames that nobody granted, and wait until the recipient has them all."""
        for speed in speeds:
            self.put(classic(0x120, bytes(8)), wheels(speed), classic(WHEEL_SPEEDS, bytes(8), extended=True))
        until(lambda: set(speeds) <= set(self.speeds()), self.logs, WAIT_S)

    def logs(self) -> str:
        return f"{self.facts()} {self.log('agent')} {self.log('cloud')}"


def wheels(front_left: int) -> bytes:
    """A frame with the wheels' speeds; one of them was granted."""
    return classic(WHEEL_SPEEDS, struct.pack(">4H", front_left, 9991, 9992, 9993))


def kernel_filters() -> list[int]:
    """The identifiers of 11 bits that anybody on vcan0 asks the kernel for, one by one or by mask."""
    found = []
    for name in ("rcvlist_sff", "rcvlist_eff", "rcvlist_fil", "rcvlist_inv", "rcvlist_all"):
        for line in Path("/proc/net/can", name).read_text().splitlines():
            words = line.split()
            if words[:1] == [INTERFACE]:
                found.append(int(words[1], 16) & 0x1FFFFFFF if name != "rcvlist_all" else -1)
    return found
