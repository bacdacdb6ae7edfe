"""Frames as columns: what the simulated car puts on its buses.

Law: payloads are zero beyond a frame's length; times never go back within a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Block:
    """n classic CAN data frames in order of time."""

    bus: NDArray[np.uint8]
    """(n,) index into the source's tuple of bus names."""
    can_id: NDArray[np.uint32]
    """(n,) 11 or 29 bits, no flag bits."""
    extended: NDArray[np.bool_]
    """(n,) whether the identifier has 29 bits."""
    length: NDArray[np.uint8]
    """(n,) data bytes, 0 to 8."""
    payload: NDArray[np.uint8]
    """(n, 8) C-contiguous."""
    time_ns: NDArray[np.int64]
    """(n,) since the drive began."""

    def __len__(self) -> int:
        return len(self.can_id)

    def take(self, index: NDArray[np.intp]) -> Block:
        """The frames at these positions, in that order."""
        return Block(
            bus=self.bus[index],
            can_id=self.can_id[index],
            extended=self.extended[index],
            length=self.length[index],
            payload=np.ascontiguousarray(self.payload[index]),
            time_ns=self.time_ns[index],
        )
