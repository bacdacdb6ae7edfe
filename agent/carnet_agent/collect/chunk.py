"""A chunk: frames and their samples, one run per signal, and what columns would otherwise compute twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from carnet_agent.collect import rate
from carnet_agent.decoded import Decoded
from carnet_agent.frames import Frames

Int64 = NDArray[np.int64]
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """The samples of one signal in a chunk, in the order of capture."""

    time_ms: Int64
    frame: NDArray[np.intp]
    """Positions of the frames in the chunk, rising."""
    raw: Int64

    def __len__(self) -> int:
        return len(self.raw)

    def where(self, kept: NDArray[np.bool_]) -> Run:
        """Only these samples."""
        return Run(self.time_ms[kept], self.frame[kept], self.raw[kept])


@dataclass(slots=True)
class Chunk:
    """The runs of a chunk, by the index of their signal."""

    frames: Frames
    time_ms: Int64
    """Of every frame."""
    runs: dict[int, Run]
    _kept: dict[tuple[int, int, int], tuple[Int64, NDArray[np.intp], Int64, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, frames: Frames, decoded: Decoded) -> Chunk:
        """The samples by signal, with the times of their frames."""
        time_ms = frames.time_ns // NS_PER_MS
        runs: dict[int, Run] = {}
        # Signals of one message share their arrays, so that what depends on the times alone is computed once.
        shared: dict[tuple[int, int], tuple[Int64, NDArray[np.intp]]] = {}
        columns = decoded.run_signal, decoded.run_start, decoded.run_length, decoded.run_frame
        for signal, start, length, first in zip(*(column.tolist() for column in columns), strict=True):
            if (first, length) not in shared:
                frame = decoded.frame[first : first + length]
                shared[first, length] = time_ms.take(frame), frame
            runs[signal] = Run(*shared[first, length], decoded.raw[start : start + length])
        return cls(frames, time_ms, runs)

    def kept(self, time_ms: Int64, interval_ms: int, free_ms: int) -> tuple[NDArray[np.intp], Int64, int]:
        """`rate.keep` and the times that it keeps; once for all columns with the very same array of times."""
        key = id(time_ms), interval_ms, free_ms
        found = self._kept.get(key)
        if found is None:
            index, free = rate.keep(time_ms, interval_ms, free_ms)
            # the array itself is held too: as long as it lives, nothing else has its id
            found = self._kept[key] = time_ms, index, time_ms.take(index), free
        return found[1:]
