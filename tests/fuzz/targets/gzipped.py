"""Whatever the bytes, a compressed capture is read to its end or to where it is cut, or refused with CaptureError.

The first byte chooses the format and whether the rest is compressed here or comes as it is.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable

from tests.fuzz.capturing import read, written
from tests.fuzz.targets import candump

SUFFIXES = (".log", ".asc", ".csv", ".trc", ".blf")
INSTRUMENT = ("can",)
RUNS = 2000


def seeds() -> Iterable[bytes]:
    yield b"\0" + gzip.compress(candump.SEEDS, mtime=0)
    yield b"\0" + gzip.compress(candump.SEEDS, mtime=0) * 3
    for number, suffix in enumerate(SUFFIXES):
        yield bytes([2 * number + 1]) + written(suffix, fd=suffix not in (".trc", ".csv"))


def check(data: bytes) -> None:
    chosen, raw = divmod(data[0] if data else 0, 2)
    content = data[1:] if raw == 0 else gzip.compress(data[1:], compresslevel=1, mtime=0)
    read(f"{SUFFIXES[chosen % len(SUFFIXES)]}.gz", content)
