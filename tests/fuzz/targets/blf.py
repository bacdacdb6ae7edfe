"""Whatever the bytes, a BLF capture is read to its end as valid blocks, or refused with CaptureError.

The seeds are not compressed, so that the fuzzer reaches what is in the containers.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.capturing import read, written

INSTRUMENT = ("can",)
RUNS = 2000


def seeds() -> Iterable[bytes]:
    return [written(".blf", compression_level=level) for level in (0, -1)]


def check(data: bytes) -> None:
    read(".blf", data)
