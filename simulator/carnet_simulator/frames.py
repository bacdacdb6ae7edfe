"""The simulated car's frames: its readings, encoded by our DBCs, each message at its cycle time.

Law: the same seed and rate give the same frames, however the time is cut into blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

import numpy as np
from cantools.database.can import Database
from numpy.typing import NDArray

from carnet.checksums import crc8
from carnet_simulator.block import Block
from carnet_simulator.encode import PAYLOAD_BYTES, Layout
from carnet_simulator.faults import Faults, decide, distort
from carnet_simulator.vehicle import STEP_MS, Vehicle

START_UNIX_MS: Final = 1_800_000_000_000
"""What the car's GNSS says when a drive begins, unless told otherwise."""

_STEP_NS: Final = STEP_MS * 1_000_000
_PHASE_NS: Final = 1_300_000
"""Messages with equal cycles start this far apart, so that they do not all come at once."""


def drive(
    databases: Sequence[tuple[str, Database]],
    seed: int,
    *,
    rate: float | None = None,
    faults: Faults | None = None,
    start_unix_ms: int = START_UNIX_MS,
) -> FrameSource:
    """The frames of the car that belongs to this seed. Arguments as of `FrameSource`."""
    return FrameSource(
        databases,
        Vehicle(Random(seed), start_unix_ms),
        rate=rate,
        faults=faults or Faults(),
        fault_random=np.random.default_rng(seed),
    )


class FrameSource:
    """Turns a vehicle's steps into blocks of frames, from time 0 on."""

    def __init__(
        self,
        databases: Sequence[tuple[str, Database]],
        vehicle: Vehicle,
        *,
        rate: float | None,
        faults: Faults,
        fault_random: np.random.Generator,
    ) -> None:
        """``databases``: (bus name, DBC) pairs. ``rate``: frames per second of all buses together; None: the DBCs' own
        cycle times, about 500.
        """
        self.buses = tuple(bus for bus, _ in databases)
        self.vehicle = vehicle
        self._faults = faults
        self._fault_random = fault_random
        layouts = [
            (bus, Layout.of(message, crc8))
            for bus, (_, database) in enumerate(databases)
            for message in database.messages
            if message.cycle_time
        ]
        self._layouts = [layout for _, layout in layouts]
        self._bus_of = np.array([bus for bus, _ in layouts], np.uint8)
        natural = sum(1000 / layout.cycle_ms for layout in self._layouts)
        slower = natural / rate if rate else 1.0
        self._cycle_ns = [max(1, round(layout.cycle_ms * 1_000_000 * slower)) for layout in self._layouts]
        self._phase_ns = [order * _PHASE_NS % cycle for order, cycle in enumerate(self._cycle_ns)]
        self._counter = [0] * len(self._layouts)
        self._until_ns = 0
        self._column: dict[str, int] = {}
        self._readings: NDArray[np.float64] = np.empty((0, 0))
        self._first_step = 0

    def frames_until(self, time_ms: int) -> Block:
        """Every frame that has not been given yet and comes before this time since the start."""
        since, until = self._until_ns, max(self._until_ns, time_ms * 1_000_000)
        self._until_ns = until
        message, turn, time_ns = self._schedule(since, until)
        self._advance(until)
        decisions = decide(self._faults, self._fault_random, len(message))
        payload = np.zeros((len(message), PAYLOAD_BYTES), np.uint8)
        step = time_ns // _STEP_NS - self._first_step
        for number, layout in enumerate(self._layouts):
            rows = np.flatnonzero(message == number)
            if len(rows) == 0:
                continue
            counter = self._counter[number] + np.cumsum(~decisions.stuck[rows])
            self._counter[number] = int(counter[-1])
            payload[rows] = layout.encode(
                turn[rows] % len(layout.pages),
                {name: self._readings[step[rows], self._column[name]] for name in layout.signals},
                counter,
                decisions.not_available[rows],
            )
        block = Block(
            bus=self._bus_of[message],
            can_id=np.array([layout.can_id for layout in self._layouts], np.uint32)[message],
            extended=np.array([layout.extended for layout in self._layouts])[message],
            length=np.array([layout.length for layout in self._layouts], np.uint8)[message],
            payload=payload,
            time_ns=time_ns,
        )
        if not self._faults:
            return block
        return distort(block, decisions, np.array([layout.checksum is not None for layout in self._layouts])[message])

    def _schedule(self, since: int, until: int) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
        """(message number, how often it came before, time) of every frame in [since, until), in order of time."""
        messages, turns, times = [], [], []
        for number, (cycle, phase) in enumerate(zip(self._cycle_ns, self._phase_ns, strict=True)):
            first, after = (max(0, -((phase - edge) // cycle)) for edge in (since, until))
            turn = np.arange(first, after, dtype=np.int64)
            messages.append(np.full(len(turn), number, np.intp))
            turns.append(turn)
            times.append(phase + turn * cycle)
        message, turn, time_ns = np.concatenate(messages), np.concatenate(turns), np.concatenate(times)
        order = np.lexsort((message, time_ns))
        return message[order], turn[order], time_ns[order]

    def _advance(self, until: int) -> None:
        """Drive on until the last frame before this time has its reading, and forget readings that are over."""
        known = self._first_step + len(self._readings)
        needed = -(-until // _STEP_NS)
        steps = [self.vehicle.step() for _ in range(needed - known)]
        if not steps:
            return
        self._column = {name: column for column, name in enumerate(steps[0])}
        fresh = np.array([list(readings.values()) for readings in steps])
        # The next block may begin inside the last step of this one.
        self._readings = np.concatenate([self._readings[-1:], fresh]) if len(self._readings) else fresh
        self._first_step = needed - len(self._readings)
