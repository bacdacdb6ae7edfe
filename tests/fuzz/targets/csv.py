"""Whatever the bytes, a CSV capture is read to its end as valid blocks, or refused with CaptureError."""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.capturing import read, written

INSTRUMENT = ("can",)
RUNS = 2000


def seeds() -> Iterable[bytes]:
    return [written(".csv"), written(".csv").replace(b",1,", b",0,")]


def check(data: bytes) -> None:
    read(".csv", data)
