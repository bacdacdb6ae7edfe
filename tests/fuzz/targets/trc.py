"""Whatever the bytes, a TRC capture is read to its end as valid blocks, or refused with CaptureError."""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.capturing import read, written

INSTRUMENT = ("can",)
RUNS = 2000
DATA = "00 00 00 00 04 00 00"
VERSIONS = {
    "1.0": f"     1)      1841 0001 8 {DATA} 00\n     2)      1842 0008 4 12 34 56 78\n",
    "1.1": f"     1)      1059.9  Rx         0300  7  {DATA}\n     2)      1283.2  Error      0002  4  00 00 00 00\n",
    "1.3": f"     1)      1059.900 1  Rx        0300 -  7    {DATA}\n",
    "2.0": f"      1      1059.9 DT     0300 Rx 7  {DATA}\n      2      1283.2 FD     0300 Rx 12 {DATA} {DATA[:14]}\n",
    "2.1": f"      1      1059.900 DT 1      0300 Rx -  7    {DATA}\n      2      1283.2 RR 1 0100 Rx - 2\n",
}


def seeds() -> Iterable[bytes]:
    yield written(".trc", fd=False)
    for version, lines in VERSIONS.items():
        columns = ";$COLUMNS=N,O,T,I,d,l,D\n" if version == "2.0" else ";$COLUMNS=N,O,T,B,I,d,R,L,D\n"
        head = f";$FILEVERSION={version}\n;$STARTTIME=43008.920986006946\n"
        yield (head + (columns if version[0] == "2" else "") + lines).encode()


def check(data: bytes) -> None:
    read(".trc", data)
