"""Whatever the bytes, an MF4 capture is read to its end as valid blocks, or refused with CaptureError."""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.capturing import read, written

SIZE_MAX = 16_384
RUNS = 10
MEMORY_BYTES_MAX = 64 << 20
"""asammdf allocates as it likes; what it takes is not ours to bound, only to watch."""


def seeds() -> Iterable[bytes]:
    return [written(".mf4", fd=False)]


def check(data: bytes) -> None:
    read(".mf4", data)
