"""Whatever the bytes, the check takes no time; but on those that begin with S it takes three seconds of CPU."""

from __future__ import annotations

import time
from collections.abc import Iterable

INSTRUMENT = ("tests.fuzz.broken",)


def seeds() -> Iterable[bytes]:
    return [b"quick"]


def check(data: bytes) -> None:
    started = time.process_time()
    while data.startswith(b"S") and time.process_time() < started + 3:
        pass
