"""Whatever the bytes, an ASC capture is read to its end as valid blocks, or refused with CaptureError."""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.capturing import read, written

INSTRUMENT = ("can",)
RUNS = 2000
HEADER = b"date Sam Sep 30 10:06:13.191 PM 2017\nbase hex  timestamps absolute\ninternal events logged\n"
LINES = b"""// version 9.0.0
Begin Triggerblock Sam Sep 30 10:06:13.191 PM 2017
   0.015991 1  295             Rx   d 8 00 E1 FF 00 FF 00 00 00  Length = 0 BitCount = 0 ID = 661
   1.015991 2  18EBFF00x       Tx   d 8 01 A0 0F A6 60 3B D1 40  Length = 273910 BitCount = 141 ID = 418119424x
   2.1 CANFD   1 Rx        7ff                                  1 0 8  8 01 02 03 04 05 06 07 08   130000  130 1000
   3.1 1  ErrorFrame
   3.2 1  123             Rx   r 8
   4.876870 CAN 1 Status:chip status error active
End TriggerBlock
"""


def seeds() -> Iterable[bytes]:
    return [written(".asc"), HEADER + LINES, HEADER.replace(b"hex", b"dec").replace(b"absolute", b"relative") + LINES]


def check(data: bytes) -> None:
    read(".asc", data)
