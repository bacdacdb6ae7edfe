"""Whatever the bytes, the check takes no memory; but those that begin with M take 32 megabytes."""

from __future__ import annotations

from collections.abc import Iterable

INSTRUMENT = ("tests.fuzz.broken",)


def seeds() -> Iterable[bytes]:
    return [b"modest"]


def check(data: bytes) -> None:
    if data.startswith(b"M"):
        # written to, or the kernel would only promise it
        bytes(bytearray(b"x") * (32 << 20))
