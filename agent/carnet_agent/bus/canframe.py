"""The kernel's ``struct can_frame`` and ``struct canfd_frame`` turned into columns.

Law: only well-formed data frames come out, zero beyond their length; everything else is counted and kept back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from carnet_agent.bus.filters import ERROR_FLAG, EXTENDED_FLAG, EXTENDED_MASK, REMOTE_FLAG, STANDARD_MASK
from carnet_agent.bus.reader import BusCounters
from carnet_agent.frames import CLASSIC_WIDTH, EXTENDED, FD, FD_WIDTH, Frames

SLOT = np.dtype([("id", "=u4"), ("length", "u1"), ("flags", "u1"), ("reserved", "=u2"), ("data", "u1", (FD_WIDTH,))])
"""``struct canfd_frame``; a classic frame fills the first 16 bytes, its flags byte means nothing."""
CLASSIC_SIZE_BYTES = 16
FD_SIZE_BYTES = 72
OVERSIZED = FD_SIZE_BYTES + 1
"""Stands for every size that is longer than a frame."""
NO_DATA = np.uint32(ERROR_FLAG | REMOTE_FLAG)
BUS_OFF = 0x40
"""CAN_ERR_BUSOFF of linux/can/error.h, in the identifier of an error frame."""
BRS_AND_ESI = 3

_LENGTH_MAX = np.full(OVERSIZED + 1, -1, np.int16)
"""The longest data of a datagram of that many bytes; -1: it is no frame."""
_LENGTH_MAX[[CLASSIC_SIZE_BYTES, FD_SIZE_BYTES]] = CLASSIC_WIDTH, FD_WIDTH

_KEEP_64 = (np.arange(FD_WIDTH) < np.arange(FD_WIDTH + 1)[:, None]).astype(np.uint8) * np.uint8(0xFF)
"""(65, 64) row n keeps the first n bytes."""
_KEEP_8 = np.ascontiguousarray(_KEEP_64[: CLASSIC_WIDTH + 1, :CLASSIC_WIDTH]).view(np.uint64)[:, 0]
"""(9,) the same for 8 bytes, as one integer: a third of the cost at the block sizes of a drain."""


def data_frames(
    slots: NDArray[Any],
    sizes: NDArray[np.uint32],
    time_ns: NDArray[np.int64],
    bus: int,
    counters: BusCounters,
) -> Frames:
    """The data frames among n received datagrams: ``slots`` (n,) of SLOT, ``sizes`` (n,) in bytes, ``time_ns`` (n,).

    Sizes beyond OVERSIZED are to be given as OVERSIZED.
    """
    identifier: NDArray[np.uint32] = slots["id"]
    length: NDArray[np.uint8] = slots["length"]
    good = length <= _LENGTH_MAX[sizes]
    good &= identifier & NO_DATA == 0
    if not good.all():
        _count_kept_back(identifier[~good], sizes[~good], counters)
        slots, sizes, time_ns = slots[good], sizes[good], time_ns[good]
        identifier, length = slots["id"], slots["length"]
    fd = sizes == FD_SIZE_BYTES
    extended = identifier >= EXTENDED_FLAG
    id_mask: NDArray[np.uint32] = np.where(extended, np.uint32(EXTENDED_MASK), np.uint32(STANDARD_MASK))
    flags = extended.astype(np.uint8)  # EXTENDED is 1
    counters.frames += len(slots)
    if fd.any():
        flags |= np.where(fd, FD | (slots["flags"] & BRS_AND_ESI) << 2, 0).astype(np.uint8)
        payload = slots["data"] & _KEEP_64[length]
    else:
        words = np.ascontiguousarray(slots["data"][:, :CLASSIC_WIDTH]).view(np.uint64)[:, 0]
        payload = (words & _KEEP_8[length]).view(np.uint8).reshape(-1, CLASSIC_WIDTH)
    return Frames(
        bus=np.full(len(slots), bus, np.uint8),
        can_id=identifier & id_mask,
        flags=flags,
        length=length.copy(),
        payload=payload,
        time_ns=time_ns,
    )


def _count_kept_back(identifier: NDArray[np.uint32], sizes: NDArray[np.uint32], counters: BusCounters) -> None:
    sized = _LENGTH_MAX[sizes] >= 0
    error = sized & (identifier & ERROR_FLAG != 0)
    remote = sized & ~error & (identifier & REMOTE_FLAG != 0)
    counters.error_frames += int(error.sum())
    counters.bus_off += int((error & (identifier & BUS_OFF != 0)).sum())
    counters.remote_frames += int(remote.sum())
    counters.malformed += len(identifier) - int(error.sum()) - int(remote.sum())


assert SLOT.itemsize == FD_SIZE_BYTES
assert EXTENDED == 1
