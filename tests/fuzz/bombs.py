"""Small inputs that inflate beyond all bounds: ``python -m tests.fuzz.bombs [BYTES]`` sets each off by itself.

Law: what is read from outside takes no more memory than its bound, whatever it claims or inflates to. Prints a JSON
object: what each bomb took besides what was there before, in bytes. Exit code 1 if one took more than 16 MB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from backports import zstd

from carnet import codec, compression
from carnet.bodies import SchemaBody
from carnet.down import GrantSetMessage
from carnet.errors import CaptureError, DbcError, FormatError
from carnet_agent.captures.capture import Capture
from carnet_agent.dbc.parse import parse_dbc
from tests.fuzz.guard import Guard
from tests.fuzz.targets.batch import SCHEMAS

GIGABYTE: Final = 1 << 30
MEMORY_BYTES_MAX: Final = 16 << 20
CPU_S_MAX: Final = 60.0
PIECE_BYTES: Final = 1 << 20
FRAME: Final = struct.pack("<4sHHLLLHHQHBBL8s", b"LOBJ", 32, 1, 48, 1, 2, 0, 0, 5, 1, 0, 8, 0x123, b"\1" * 8)
GIANT: Final = struct.pack("<4sHHLL", b"LOBJ", 32, 1, 2**32 - 1, 1)
Bomb = Callable[[int, Path], Callable[[], object]]
"""Makes an input that inflates to so many bytes, and gives what reads it."""


def pieces(size: int, word: bytes, head: bytes) -> Iterator[bytes]:
    """``head``, then a word again and again, up to a size."""
    yield head
    piece = word * (PIECE_BYTES // len(word))
    for _ in range(size // len(piece)):
        yield piece


def in_zstd(size: int) -> bytes:
    """Zeros in one frame of a window that is allowed."""
    packer = zstd.ZstdCompressor(options={int(zstd.CompressionParameter.window_log): 17})
    return b"".join([packer.compress(piece) for piece in pieces(size, b"\0", b"")]) + packer.flush()


def deflated(size: int, word: bytes, head: bytes = b"", window: int = 15) -> bytes:
    """For zlib, or with a window of 31 for gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    return b"".join([packer.compress(piece) for piece in pieces(size, word, head)]) + packer.flush()


def in_gzip(word: bytes, head: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: deflated(size, word, head, 31)


def blf(content: bytes, claimed: int | None = None) -> bytes:
    """A BLF file with one compressed container."""
    size = 32 + len(content) if claimed is None else claimed
    head = struct.pack("<4sL", b"LOGG", 144).ljust(144, b"\0")
    return head + struct.pack("<4sHHLL", b"LOBJ", 16, 1, size, 10) + struct.pack("<H6xL4x", 2, 2**31) + content


def capture(name: str, make: Callable[[int], bytes]) -> Bomb:
    """What a capture of this name and content takes to its end."""

    def prepare(size: int, folder: Path) -> Callable[[], object]:
        path = folder / name
        path.write_bytes(make(size))
        return lambda: sum(len(block.frames) for block in Capture(path).blocks())

    return prepare


def data(make: Callable[[int], bytes], read: Callable[[bytes], object]) -> Bomb:
    """What a reader of bytes takes."""

    def prepare(size: int, _folder: Path) -> Callable[[], object]:
        found = make(size)
        return lambda: read(found)

    return prepare


def batch(body: bytes) -> object:
    return codec.decode(body, SCHEMAS[0])


BOMBS: Final[dict[str, Bomb]] = {
    "a schema": data(in_zstd, SchemaBody.parse),
    "a grant set": data(in_zstd, GrantSetMessage.parse),
    "a batch": data(lambda size: b"\1" + in_zstd(size)[len(compression.MAGIC) :], batch),
    # 2^17 times and values in nine bytes: constant columns cost none
    "a batch of constants": data(lambda _: b"\0\0\x80\x80\x08\x40\x40\0\0", batch),
    "a batch of too many": data(lambda _: b"\0\0\xff\xff\xff\xff\x0f\x40\x40\0\0", batch),
    "a line of a candump log": capture("a.log.gz", in_gzip(b"x")),
    "a line of an ASC file": capture("a.asc.gz", in_gzip(b"x")),
    "a line of a CSV file": capture("a.csv.gz", in_gzip(b",")),
    "a line of a TRC file": capture("a.trc.gz", in_gzip(b"1")),
    "zeros in a compressed BLF file": capture("a.blf.gz", in_gzip(b"\0", blf(b"")[:144])),
    "a container": capture("a.blf", lambda size: blf(deflated(size // 64, FRAME))),
    "an object": capture("a.blf", lambda size: blf(deflated(size, FRAME, GIANT))),
    "a container of four gigabytes": capture("a.blf.gz", in_gzip(b"\0", blf(b"", 2**32 - 1))),
    "a compressed MF4 file": capture("a.mf4.gz", in_gzip(b"MDF     ")),
    "multiplexer values": data(
        lambda _: (
            b'BO_ 1 M: 8 X\n SG_ m M : 0|8@1+ (1,0) [0|0] "" X\n SG_ s m0 : 8|8@1+ (1,0) [0|0] "" X\n\n'
            b"SG_MUL_VAL_ 1 s m 0-9999999;\n"
        ),
        lambda text: parse_dbc(text, "a.dbc"),
    ),
}


def took(bomb: Bomb, size: int, folder: Path) -> int:
    """Bytes."""
    read = bomb(size, folder)
    guard = Guard(GIGABYTE, CPU_S_MAX)
    guard.forget()
    guard.run(lambda _: _harmless(read), b"")
    return guard.peak_bytes


def apart(bomb: Bomb, size: int, folder: Path) -> int:
    """The same in a process of its own: what is left in the allocator would hide what the next one takes."""
    ours, its = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(its, str(took(bomb, size, folder)).encode())
        finally:
            os._exit(0)
    os.close(its)
    with os.fdopen(ours) as answer:
        found = answer.read()
    os.waitpid(child, 0)
    return int(found or GIGABYTE)


def _harmless(read: Callable[[], object]) -> None:
    with suppress(FormatError, CaptureError, DbcError):
        read()


def main(arguments: list[str]) -> int:
    """Small ones first, which load whatever is needed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.bombs", description=__doc__)
    parser.add_argument("size", nargs="?", metavar="BYTES", type=int, default=GIGABYTE, help="to inflate to (2^30)")
    size = parser.parse_args(arguments).size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for bomb in BOMBS.values():
            _harmless(bomb(1 << 16, folder))
        (folder / "warm.log.gz").write_bytes(gzip.compress(b"(1.0) can0 123#00\n" * 9000))
        _harmless(lambda: list(Capture(folder / "warm.log.gz").blocks()))
        found = {name: apart(bomb, size, folder) for name, bomb in BOMBS.items()}
    print(json.dumps(found))
    return int(max(found.values()) > MEMORY_BYTES_MAX)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
