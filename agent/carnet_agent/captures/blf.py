"""The objects of a BLF file, taken out of their containers and measured before python-can's reader sees them.

That reader believes sizes: an object of no bytes keeps it in a loop for ever, one that claims gigabytes makes it gather
the rest of the file, and a container inflates to whatever is in it. Law: nothing is kept but one object and one piece
of the file; an object that cannot be is the end of the file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Final

OBJECT_BYTES_MAX: Final = 1 << 20
"""A larger object holds no frame; it is passed over."""
HEADER_BYTES_MAX: Final = 4096
PIECE_BYTES: Final = 64 << 10

_FILE: Final = struct.Struct("<4sL")
_FILE_BYTES: Final = 72
_BASE: Final = struct.Struct("<4sHHLL")
_CONTAINER: Final = struct.Struct("<H6xL4x")
_CONTAINER_TYPE: Final = 10
_PLAIN, _ZLIB = 0, 2
_HEADERS: Final = {1: 16, 2: 24}
"""Version of an object's header -> its bytes behind the first 16."""
_BODIES: Final = {1: 16, 86: 16, 73: 32, 100: 84, 101: 40}
"""Types with frames -> the bytes that each has at least."""


class FlatBlf:
    """A file for python-can's reader: the same objects in containers that are not compressed and hold whole objects."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._parts = _parts(stream)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """The next bytes; ValueError where the file cannot be what it says."""
        if not 0 <= size <= OBJECT_BYTES_MAX + 2 * PIECE_BYTES:
            raise ValueError("a size that no part of a BLF file has")
        while len(self._rest) < size and (part := next(self._parts, b"")):
            self._rest += part
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def close(self) -> None:
        """The file is closed by whoever opened it."""


def _parts(stream: IO[bytes]) -> Iterator[bytes]:
    """The file's header, then containers."""
    start = _exactly(stream, _FILE_BYTES)
    magic, size = _FILE.unpack_from(start)
    if magic != b"LOGG" or not _FILE_BYTES <= size <= HEADER_BYTES_MAX:
        raise ValueError("not the header of a BLF file")
    yield start + _exactly(stream, size - _FILE_BYTES)
    objects = _Objects()
    for piece in _contents(stream):
        whole = objects.feed(piece)
        if whole:
            base = _BASE.pack(b"LOBJ", _BASE.size, 1, _BASE.size + _CONTAINER.size + len(whole), _CONTAINER_TYPE)
            yield base + _CONTAINER.pack(_PLAIN, len(whole)) + whole + bytes(len(whole) % 4)
        if objects.wrong:
            raise ValueError(objects.wrong)


def _contents(stream: IO[bytes]) -> Iterator[bytes]:
    """What is in the containers, in pieces; everything outside of one is passed over."""
    while base := stream.read(_BASE.size):
        magic, _, _, size, kind = _BASE.unpack(base.ljust(_BASE.size, b"\0"))
        if magic != b"LOBJ" or size < _BASE.size:
            raise ValueError("not an object of a BLF file")
        left = size - _BASE.size
        inflate: Callable[[bytes], Iterator[bytes]] | None = None
        if kind == _CONTAINER_TYPE:
            method, _ = _CONTAINER.unpack(_exactly(stream, _CONTAINER.size))
            left -= _CONTAINER.size
            inflate = {_PLAIN: _as_it_is, _ZLIB: _inflater()}.get(method)
        if left < 0:
            raise ValueError("a container of a BLF file has no room for its header")
        while left:
            piece = stream.read(min(left, PIECE_BYTES))
            if not piece:
                raise ValueError("a BLF file is cut")
            left -= len(piece)
            if inflate is not None:
                yield from inflate(piece)
        stream.read(size % 4)


def _as_it_is(piece: bytes) -> Iterator[bytes]:
    yield piece


def _inflater() -> Callable[[bytes], Iterator[bytes]]:
    """A function that inflates the pieces of one container, never more than a piece at a time."""
    state = zlib.decompressobj()

    def inflate(piece: bytes) -> Iterator[bytes]:
        while piece and not state.eof:
            try:
                yield state.decompress(piece, PIECE_BYTES)
            except zlib.error as error:
                raise ValueError("a container of a BLF file is damaged") from error
            piece = state.unconsumed_tail

    return inflate


class _Objects:
    """Cuts what comes in pieces into whole objects."""

    def __init__(self) -> None:
        self._rest = b""
        self._passing_over = 0
        self.wrong = ""
        """Why nothing more can be read."""

    def feed(self, piece: bytes) -> bytes:
        """All objects that are whole now, one behind the other."""
        passed = min(self._passing_over, len(piece))
        self._passing_over -= passed
        data, at, whole = self._rest + piece[passed:], 0, []
        while not self.wrong:
            # objects are filled up to whole words, by up to four bytes that belong to none
            start = data.find(b"LOBJ", at, at + 8)
            if start < 0:
                self.wrong = "the next object of a BLF file is missing" if len(data) >= at + 8 else ""
                break
            at = start
            if len(data) < start + _BASE.size:
                break
            _, _, version, size, kind = _BASE.unpack_from(data, start)
            if size < _BASE.size or (kind in _BODIES and size < _least(version, kind)):
                self.wrong = "an object of a BLF file is shorter than it can be"
            elif size > OBJECT_BYTES_MAX:
                self._passing_over = max(0, start + size - len(data))
                at = min(start + size, len(data))
            elif len(data) < start + size:
                break
            else:
                whole.append(data[start : start + size])
                at = start + size
        self._rest = data[at:]
        return b"".join(whole)


def _least(version: int, kind: int) -> int:
    """The fewest bytes of an object with frames; one of an unknown header is passed over by the reader."""
    return _BASE.size + (_HEADERS[version] + _BODIES[kind] if version in _HEADERS else 0)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("a BLF file is cut")
    return data
