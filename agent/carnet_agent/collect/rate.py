"""Rate: at most one sample per interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FREE_ALWAYS = -(2**62)
"""Before anything was kept."""


def keep(time_ms: NDArray[np.int64], interval_ms: int, free_ms: int) -> tuple[NDArray[np.intp], int]:
    """(positions of the samples that are kept, the moment from which the next one may be).

    ``time_ms`` does not fall; a sample before ``free_ms`` is not kept.
    """
    at = int(time_ms.searchsorted(free_ms))
    if at == len(time_ms):
        return np.empty(0, np.intp), free_ms
    following = time_ms.searchsorted(time_ms + interval_ms)
    kept = []
    # one step per kept sample, not per sample
    while at < len(time_ms):
        kept.append(at)
        at = int(following[at])
    return np.array(kept, np.intp), int(time_ms[kept[-1]]) + interval_ms
