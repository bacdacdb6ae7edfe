"""The agent's whole path on a real CAN interface: from frames on vcan0 over a real Mosquitto to a recipient's file.

One road for all cases, since starting its programs takes most of the time; the last case withdraws.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.candatagrams import classic, error
from tests.system.guest.vcan import INTERFACE, Peer, ip, transmitted
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


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VcanRoad]:
    made = VcanRoad(tmp_path_factory.mktemp("road"))
    try:
        made.prepare([{**OFFER, "items": [ITEM]}])
        assert kernel_filters() == []
        made.start_agent()
        until(lambda: made.facts().get("broker", {}).get("connections", 0), made.logs, WAIT_S)
        assert kernel_filters() == [], "without a grant the kernel hands out nothing"
        made.record = made.owner("grant", str(OFFER["id"]))["record"]
        until(lambda: kernel_filters() != [], made.logs, WAIT_S)
        yield made
    finally:
        made.close()


def test_the_kernel_is_asked_for_the_granted_message_alone_and_its_readings_arrive(road: VcanRoad) -> None:
    assert kernel_filters() == [WHEEL_SPEEDS]
    before = road.bus()["frames"]
    road.deliver(1001, 1002, 1003)
    assert road.speeds() == [1001, 1002, 1003]
    assert road.bus()["frames"] == before + 3, "frames that nobody granted stay in the kernel"


def test_after_the_interface_was_down_every_reading_arrives_again(road: VcanRoad) -> None:
    before = len(road.speeds())
    ip("link", "set", INTERFACE, "down")
    until(lambda: road.facts()["buses"]["can0"]["fault"] == "interface_down", road.logs, WAIT_S)
    ip("link", "set", INTERFACE, "up")
    road.deliver(*range(2000, 2050))
    assert road.speeds()[before:] == list(range(2000, 2050))
    assert road.facts()["buses"]["can0"]["fault"] is None
    assert (road.bus()["interrupted"], road.bus()["dropped"]) == (1, 0)


def test_error_frames_are_counted_and_harm_no_reading(road: VcanRoad) -> None:
    before, errors = len(road.speeds()), road.bus()["error_frames"]
    road.put(*[error(0x88)] * 300)
    road.deliver(3001, 3002)
    assert road.speeds()[before:] == [3001, 3002]
    assert road.bus()["error_frames"] == errors + 300
    assert road.facts()["failures"] == {}


def test_after_a_withdrawal_the_kernel_hands_out_nothing(road: VcanRoad) -> None:
    """The last case: nothing is granted any more. In all cases together the agent has put no frame on the bus."""
    road.owner("withdraw", road.record)
    until(lambda: kernel_filters() == [], road.logs, WAIT_S)
    before, frames = road.speeds(), road.bus()["frames"]
    road.put(*[wheels(4000)] * 20)
    assert road.bus()["frames"] == frames
    assert road.stop("agent") == 0
    assert road.speeds() == before
    assert transmitted() == road.sent
