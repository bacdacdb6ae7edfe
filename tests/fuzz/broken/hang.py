"""Whatever the bytes, the check returns; but on those that begin with H it never does."""

from __future__ import annotations

import time
from collections.abc import Iterable

INSTRUMENT = ("tests.fuzz.broken",)


def seeds() -> Iterable[bytes]:
    return [b"quick"]


def check(data: bytes) -> None:
    while data.startswith(b"H"):
        time.sleep(0.1)
