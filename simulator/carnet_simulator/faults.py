"""What can go wrong on a bus, as probabilities per frame.

Law: decisions depend on the random source and the order of frames alone, not on how the frames are cut into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from carnet.errors import ConfigError
from carnet_simulator.block import Block


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities between 0 and 1 that a frame …"""

    drop: float = 0.0
    """… never gets to the bus,"""
    duplicate: float = 0.0
    """… is sent twice,"""
    corrupt: float = 0.0
    """… has a wrong checksum (only where it has one),"""
    stuck: float = 0.0
    """… repeats the counter of the frame before it,"""
    short: float = 0.0
    """… has only the first half of its bytes,"""
    not_available: float = 0.0
    """… carries 'not available' in signals that have a code for it."""

    @classmethod
    def parse(cls, texts: list[str]) -> Faults:
        """From texts like ``drop=0.01``; ConfigError ``fault_unknown`` or ``fault_probability``."""
        names = [field.name for field in fields(cls)]
        found: dict[str, float] = {}
        for text in texts:
            name, _, value = text.partition("=")
            if name not in names:
                raise ConfigError("fault_unknown", f"'{name}' is not a fault; known are {', '.join(names)}")
            try:
                found[name] = float(value)
            except ValueError:
                found[name] = -1.0
            if not 0 <= found[name] <= 1:
                raise ConfigError("fault_probability", f"write a fault as {name}=0.01, a number between 0 and 1")
        return cls(**found)

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Decisions:
    """What happens to each of n frames, (n,) each."""

    drop: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]
    corrupt: NDArray[np.bool_]
    stuck: NDArray[np.bool_]
    short: NDArray[np.bool_]
    not_available: NDArray[np.bool_]


def decide(faults: Faults, random: np.random.Generator, count: int) -> Decisions:
    """Decide about the next ``count`` frames."""
    names = [field.name for field in fields(Faults)]
    chance = random.random((count, len(names))) if faults else np.ones((count, len(names)))
    return Decisions(**{name: chance[:, column] < getattr(faults, name) for column, name in enumerate(names)})


def distort(block: Block, decisions: Decisions, has_checksum: NDArray[np.bool_]) -> Block:
    """The block as it arrives: checksums spoilt, frames shortened, lost and doubled. Counters stick in the encoder."""
    payload = block.payload.copy()
    length = block.length.copy()
    last = length.astype(np.intp) - 1
    rows = np.flatnonzero(decisions.corrupt & has_checksum)
    payload[rows, last[rows]] ^= np.uint8(0x5A)
    length[decisions.short] //= 2
    payload[np.arange(payload.shape[1]) >= length[:, np.newaxis]] = 0
    times = np.where(decisions.drop, 0, 1 + decisions.duplicate)
    index = np.repeat(np.arange(len(block)), times)
    return Block(block.bus, block.can_id, block.extended, length, payload, block.time_ns).take(index)
