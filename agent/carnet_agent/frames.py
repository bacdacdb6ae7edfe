"""CAN data frames as columns: the one form in which frames travel from a bus or a capture to decode.

Law: error and remote frames never get here, and every payload is zero beyond its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXTENDED = 1
"""The identifier has 29 bits."""
FD = 2
"""A CAN FD frame."""
BRS = 4
"""CAN FD: the data phase ran at the higher bit rate."""
ESI = 8
"""CAN FD: the sender was error passive."""

CLASSIC_WIDTH = 8
FD_WIDTH = 64


@dataclass(frozen=True, slots=True)
class Frames:
    """A block of n frames in the order in which they were seen."""

    bus: NDArray[np.uint8]
    """(n,) index into the owner's tuple of bus names."""
    can_id: NDArray[np.uint32]
    """(n,) 11 or 29 bits, no flag bits."""
    flags: NDArray[np.uint8]
    """(n,) EXTENDED, FD, BRS, ESI."""
    length: NDArray[np.uint8]
    """(n,) data bytes, 0 to 64; a reassembled message may have more, see ``carnet_agent.isotp``."""
    payload: NDArray[np.uint8]
    """(n, width) C-contiguous, zero beyond ``length``; width is a multiple of 8: 8 classic, 64 CAN FD."""
    time_ns: NDArray[np.int64]
    """(n,) CLOCK_BOOTTIME of a live bus, the file's own clock of a capture."""

    def __len__(self) -> int:
        return len(self.can_id)

    @property
    def width(self) -> int:
        """Bytes per payload row."""
        return int(self.payload.shape[1])

    @classmethod
    def empty(cls, width: int = CLASSIC_WIDTH) -> Frames:
        """A block without frames, with payload rows of ``width`` bytes."""
        return cls(
            bus=np.empty(0, np.uint8),
            can_id=np.empty(0, np.uint32),
            flags=np.empty(0, np.uint8),
            length=np.empty(0, np.uint8),
            payload=np.empty((0, width), np.uint8),
            time_ns=np.empty(0, np.int64),
        )

    @classmethod
    def concat(cls, blocks: Sequence[Frames]) -> Frames:
        """One block out of several, in their order; narrower payloads are widened with zeros."""
        if not blocks:
            return cls.empty()
        if len(blocks) == 1:
            return blocks[0]
        width = max(block.width for block in blocks)
        return cls(
            bus=np.concatenate([block.bus for block in blocks]),
            can_id=np.concatenate([block.can_id for block in blocks]),
            flags=np.concatenate([block.flags for block in blocks]),
            length=np.concatenate([block.length for block in blocks]),
            payload=np.concatenate([block.widened(width).payload for block in blocks]),
            time_ns=np.concatenate([block.time_ns for block in blocks]),
        )

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Frames:
        """The frames at these positions (indices, a mask or a slice), in that order."""
        return Frames(
            bus=self.bus[index],
            can_id=self.can_id[index],
            flags=self.flags[index],
            length=self.length[index],
            payload=np.ascontiguousarray(self.payload[index]),
            time_ns=self.time_ns[index],
        )

    def widened(self, width: int) -> Frames:
        """The same frames with payload rows of at least ``width`` bytes."""
        if width <= self.width:
            return self
        payload = np.zeros((len(self), width), np.uint8)
        payload[:, : self.width] = self.payload
        return Frames(self.bus, self.can_id, self.flags, self.length, payload, self.time_ns)
