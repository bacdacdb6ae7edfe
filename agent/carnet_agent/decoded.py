"""What `decode` yields: the samples of one block of frames as columns.

Law: one run per signal, and never a sample without its frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Decoded:
    """Samples of one block, one run per signal that occurs in it; R runs, N samples."""

    run_signal: NDArray[np.int32]
    """(R,) index into ``Plan.signals``."""
    run_start: NDArray[np.int64]
    """(R,) first sample of the run."""
    run_length: NDArray[np.int64]
    """(R,) samples in the run, at least 1."""
    run_frame: NDArray[np.int64]
    """(R,) where the run's frames begin in ``frame``; runs of one message have the same frames, and share them."""
    frame: NDArray[np.intp]
    """Positions of frames in the block, ascending within a run; some belong to no run."""
    raw: NDArray[np.int64]
    """(N,) raw integers; unsigned 64-bit values and floats as their bit pattern, ``SignalInfo.kind`` says which."""
    source: NDArray[np.int16] | None = None
    """Of each frame of the block the J1939 source address, -1 for 11-bit identifiers; None unless matched by group."""

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def sample_frame(self) -> NDArray[np.intp]:
        """(N,) the frame of each sample; ``frame`` itself is cheaper where runs are looked at one by one."""
        place = (self.run_frame - self.run_start).repeat(self.run_length)
        place += np.arange(len(self.raw))
        return self.frame.take(place)

    def only(self, keep: NDArray[np.bool_]) -> Decoded:
        """The samples for which ``keep`` is true. Runs left empty go; those left whole go on sharing their frames."""
        if not len(keep):
            return self
        length = np.add.reduceat(keep.astype(np.int64), self.run_start)
        whole = length == self.run_length
        own = np.where(whole, 0, length)
        left = length > 0
        kept_length = length[left]
        return replace(
            self,
            run_signal=self.run_signal[left],
            run_start=kept_length.cumsum() - kept_length,
            run_length=kept_length,
            run_frame=np.where(whole, self.run_frame, len(self.frame) + own.cumsum() - own)[left],
            frame=np.concatenate((self.frame, self.sample_frame[keep & ~whole.repeat(self.run_length)])),
            raw=self.raw[keep],
        )
