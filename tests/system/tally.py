"""A car that only counts: frames on several buses, each with the next number, so that every reading can be told apart.

Law: what was sent is known with its time; a number that a recipient has twice or not at all is seen.
"""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Final, Self

import can

from tests.system.mosquitto import free_port
from tests.system.road import GROUP, Car

BUSES: Final = ("can0", "can1", "can2", "can3")
PERIOD_S: Final = 0.025
SLOW_EVERY: Final = 4
"""The slow counter on can0 is sent with every so many of the others."""
FAST_ID, SLOW_ID = 0x100, 0x101
DBC: Final = """\
VERSION ""
NS_ :
BS_:
BU_: Car Unit

BO_ 256 Fast: 4 Car
 SG_ Fast : 0|32@1+ (1,0) [0|0] "" Unit

BO_ 257 Slow: 4 Car
 SG_ Slow : 0|32@1+ (1,0) [0|0] "" Unit
"""
SIGNAL: Final = """
[[signal]]
message = "{message}"
signal = "{message}"
bus = "{bus}"
path = "{path}"
unit = ""
category = "driving"
sensitivity = "personal"
"""
SLOW_PATH: Final = "Vehicle.Tally.Slow"


def fast_path(bus: str) -> str:
    return f"Vehicle.Tally.{bus.capitalize()}"


def make_car(folder: Path) -> Car:
    """DBC and mapping in ``folder``, and a free port for every bus."""
    dbc, mapping = folder / "tally.dbc", folder / "tally.map.toml"
    dbc.write_text(DBC)
    text = f'[dbc]\nname = "tally.dbc"\nsha256 = "{hashlib.sha256(dbc.read_bytes()).hexdigest()}"\n'
    for bus in BUSES:
        text += SIGNAL.format(message="Fast", bus=bus, path=fast_path(bus))
    mapping.write_text(text + SIGNAL.format(message="Slow", bus="can0", path=SLOW_PATH))
    return Car(dbc, mapping, {bus: free_port() for bus in BUSES})


class Tally:
    """Counts in a thread until it is left. ``sent``: path -> time.monotonic() of every number, beginning with 0.

    ``car`` may have further buses; these are left alone.
    """

    def __init__(self, car: Car, period_s: float = PERIOD_S) -> None:
        self.sent: dict[str, list[float]] = {path: [] for path in (*map(fast_path, BUSES), SLOW_PATH)}
        self._buses = {
            name: can.Bus(interface="udp_multicast", channel=GROUP, port=port, hop_limit=0)
            for name, port in car.ports.items()
            if name in BUSES
        }
        self._period_s = period_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tally")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No more frames when this returns."""
        self._over.set()
        self._thread.join()
        for bus in self._buses.values():
            bus.shutdown()

    def _run(self) -> None:
        turn = 0
        while not self._over.wait(self._period_s):
            for name in BUSES:
                self._send(name, FAST_ID, fast_path(name))
            if turn % SLOW_EVERY == 0:
                self._send("can0", SLOW_ID, SLOW_PATH)
            turn += 1

    def _send(self, bus: str, can_id: int, path: str) -> None:
        times = self.sent[path]
        data = len(times).to_bytes(4, "little")
        times.append(time.monotonic())
        self._buses[bus].send(can.Message(arbitration_id=can_id, is_extended_id=False, data=data))
