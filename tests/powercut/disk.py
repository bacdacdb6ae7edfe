"""What a power cut leaves of a folder: files by what was synced, and of the rest whatever the disk had got round to.

The model. What was written to a file before its last sync is there. Of what came later any sectors may be there and any
may not, but a file never grows past a hole: its new end is noted when all before it has been written (ext4 in its
default mode, XFS and btrfs do so; the logs of SQLite need not even that, so they may have holes). A name that was made
is there once the file was synced; every other change of names once its folder was, and of later ones only those before
one moment: all journalling file systems keep their order.

Pure: no file is touched here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath

SECTOR_BYTES = 512


class Kind(Enum):
    MADE = "made"
    WRITTEN = "written"
    CUT = "cut"
    SYNCED = "synced"
    RENAMED = "renamed"
    REMOVED = "removed"
    SAID = "said"
    """Nothing of the disk: what was promised to somebody at this moment."""


@dataclass(frozen=True, slots=True)
class Operation:
    """``path`` is of the file, or of the folder that was synced. ``at``: where it was written, or the new size."""

    kind: Kind
    path: PurePath
    at: int = 0
    data: bytes = b""
    to: PurePath | None = None
    """The new name."""


class Luck(Enum):
    """What becomes of what was not synced."""

    NOTHING = "nothing"
    ALL = "all"
    SOME = "some"
    """Of the writes."""
    TORN = "torn"
    """Sector by sector."""


@dataclass(eq=False)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    later: list[Operation] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Name:
    """The file has this name from here on; None: the name is gone."""

    path: PurePath
    file: _File | None
    gone: PurePath | None = None
    """The name that it had before."""


class Disk:
    """`do` what was recorded; `left` is what a power cut at this moment may leave."""

    def __init__(self) -> None:
        self._files: dict[PurePath, _File] = {}
        self._names: dict[PurePath, _File] = {}
        """Those that are on the disk."""
        self._later: list[_Name] = []

    def do(self, operation: Operation) -> None:
        path = operation.path
        match operation.kind:
            case Kind.MADE:
                self._files[path] = _File()
                self._later.append(_Name(path, self._files[path]))
            case Kind.WRITTEN | Kind.CUT:
                self._files[path].later.append(operation)
            case Kind.SYNCED:
                self._sync(path)
            case Kind.RENAMED:
                assert operation.to is not None
                self._files[operation.to] = self._files.pop(path)
                self._later.append(_Name(operation.to, self._files[operation.to], path))
            case Kind.REMOVED:
                del self._files[path]
                self._later.append(_Name(path, None))
            case Kind.SAID:
                pass

    def now(self) -> dict[PurePath, bytes]:
        """What a program sees that reads now."""
        return {path: _whole(file) for path, file in self._files.items()}

    def left(self, luck: Luck, source: random.Random) -> dict[PurePath, bytes]:
        names = dict(self._names)
        count = {Luck.NOTHING: 0, Luck.ALL: len(self._later)}.get(luck, source.randint(0, len(self._later)))
        for change in self._later[:count]:
            _rename(names, change)
        return {path: _left(file, luck, source, path.name.endswith("-wal")) for path, file in names.items()}

    def _sync(self, path: PurePath) -> None:
        file = self._files.get(path)
        if file is None:
            done = [change for change in self._later if change.path.parent == path]
        else:
            file.synced, file.later = bytearray(_whole(file)), []
            done = self._up_to_its_making(file)
        for change in done:
            _rename(self._names, change)
        self._later = [change for change in self._later if change not in done]

    def _up_to_its_making(self, file: _File) -> list[_Name]:
        made = [n for n, change in enumerate(self._later) if change.file is file and change.gone is None]
        return self._later[: made[-1] + 1] if made else []


def _rename(names: dict[PurePath, _File], change: _Name) -> None:
    if change.gone is not None:
        names.pop(change.gone, None)
    if change.file is None:
        names.pop(change.path, None)
    else:
        names[change.path] = change.file


def _whole(file: _File) -> bytes:
    data = bytearray(file.synced)
    for operation in file.later:
        _apply(data, operation)
    return bytes(data)


def _left(file: _File, luck: Luck, source: random.Random, may_have_holes: bool) -> bytes:
    if luck is Luck.ALL:
        return _whole(file)
    data = bytearray(file.synced)
    later = file.later if luck is not Luck.NOTHING else []
    pieces = [piece for each in later for piece in (_sectors(each) if luck is Luck.TORN else [each])]
    for piece in pieces:
        grows = piece.kind is Kind.WRITTEN and piece.at + len(piece.data) > len(data)
        if grows and piece.at > len(data) and not may_have_holes:
            continue
        if source.random() < 0.5:
            _apply(data, piece)
    return bytes(data)


def _sectors(operation: Operation) -> Iterator[Operation]:
    if operation.kind is Kind.CUT:
        yield operation
        return
    at, end = operation.at, operation.at + len(operation.data)
    while at < end:
        stop = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield Operation(operation.kind, operation.path, at, operation.data[at - operation.at : stop - operation.at])
        at = stop


def _apply(data: bytearray, operation: Operation) -> None:
    at = operation.at
    if len(data) < at:
        data.extend(bytes(at - len(data)))
    if operation.kind is Kind.CUT:
        del data[at:]
    else:
        data[at : at + len(operation.data)] = operation.data


Image = Mapping[PurePath, bytes]
