"""Whatever the bytes, every line of a candump log is a frame, a counted kind of frame, or refused; none is lost."""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.capturing import read, written

SEEDS = b"""(1622547830.084000) can1 0CF00300#FFFE00FFFFFF00FF
 (1622547831.000000001) vcan0 7FF#0a0B R
(0.5) can1 123##3112233445566778899AABBCC
(1.0) can0 20000004#0004000000000000
(1.0) can0 123#R8
(1) can0 FFF#0
"""


def seeds() -> Iterable[bytes]:
    return [SEEDS, written(".log"), SEEDS.replace(b"\n", b"\r\n"), SEEDS.replace(b"#", b"# ")]


def check(data: bytes) -> None:
    capture = read(".log", data)
    if capture is not None:
        assert sum(capture.counts.values()) == sum(bool(line.strip()) for line in data.split(b"\n"))
