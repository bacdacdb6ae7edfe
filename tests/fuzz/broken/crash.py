"""Whatever the bytes, nothing is raised; but those that begin with BU raise ZeroDivisionError."""

from __future__ import annotations

from collections.abc import Iterable

INSTRUMENT = ("tests.fuzz.broken",)


def seeds() -> Iterable[bytes]:
    return [b"nothing to see here"]


def check(data: bytes) -> None:
    # a byte at a time, so that coverage leads there
    if len(data) < 2 or data[0] != 0x42:
        return
    if data[1] == 0x55:
        raise ZeroDivisionError
