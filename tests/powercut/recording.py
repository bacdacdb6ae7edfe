"""What a program told the kernel about the files of one folder, in its order: seen by strace from outside.

Law: nothing is left out in silence. A call that changes files and is not understood here is an error, and what was
recorded must make the very files that the program left.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

from tests.conftest import CHECKOUT
from tests.lacking import lacking
from tests.powercut.disk import Disk, Kind, Operation

CALLS = (
    "open,openat,creat,write,pwrite64,lseek,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,close"
)
"""Understood."""
OTHERS = (
    "writev,pwritev,pwritev2,truncate,fallocate,link,linkat,symlink,symlinkat,sendfile,copy_file_range,sync_file_range"
)
"""Not understood; nobody here makes them in the folder."""
LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
FILE = re.compile(r"^(\d+)<(.*)>(\(deleted\))?$")
SAID = "said"
"""A file beside the folder: what is written to it are the story's own words."""


def record(program: str, place: Path) -> list[Operation]:
    """Run ``python -m PROGRAM FOLDER SAID`` with a new folder in ``place`` and say what it did there."""
    if shutil.which("strace") is None:
        lacking("no strace: apt-get install strace")
    folder, said, log = place / "disk", place / SAID, place / "strace"
    folder.mkdir(parents=True)
    words = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", str(1 << 24), "-o", str(log)]
    words += ["-e", f"trace={CALLS},{OTHERS}", "-e", "signal=none"]
    words += [sys.executable, "-m", program, str(folder), str(said)]
    done = subprocess.run(words, cwd=CHECKOUT, env={**os.environ}, check=False, capture_output=True, text=True)
    if not log.exists() or not log.stat().st_size:
        lacking(f"this machine lets nobody watch a program: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    with log.open(encoding="ascii") as lines:
        operations = list(_Reader(folder, said).read(lines))
    _require_complete(operations, folder)
    return operations


def _require_complete(operations: list[Operation], folder: Path) -> None:
    disk = Disk()
    for operation in operations:
        disk.do(operation)
    files = {
        PurePath(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    # SQLite's index of the log is memory that processes share; it is written past the kernel, and made anew at a start
    seen = {path: data for path, data in disk.now().items() if not path.name.endswith("-shm")}
    assert seen == {path: data for path, data in files.items() if not path.name.endswith("-shm")}


class _Reader:
    """Turns lines of strace into operations; knows where each open file stands."""

    def __init__(self, folder: Path, said: Path) -> None:
        self._folder = folder
        self._said = said
        self._sizes: dict[PurePath, int] = {}
        self._places: dict[int, int | None] = {}
        """Of open files, by their number; None: always at the end."""

    def read(self, lines: Iterator[str]) -> Iterator[Operation]:
        for line in lines:
            assert "unfinished" not in line, f"two threads at once: {line[:200]}"
            found = LINE.match(line)
            if found is None or int(found[3]) < 0:
                continue
            name, words, answer = found[1], found[2].split(", "), int(found[3])
            handler: Callable[[list[str], int], Iterator[Operation]] = getattr(self, f"_{name}", self._unknown)
            yield from handler(words, answer)

    def _openat(self, words: list[str], answer: int) -> Iterator[Operation]:
        path, flags = Path(_text(words[1])), words[2].split("|")
        inside = self._inside(path)
        self._places[answer] = None if "O_APPEND" in flags else 0
        if inside is None or "O_DIRECTORY" in flags:
            return
        if "O_CREAT" in flags and inside not in self._sizes:
            self._sizes[inside] = 0
            yield Operation(Kind.MADE, inside)
        elif "O_TRUNC" in flags:
            self._sizes[inside] = 0
            yield Operation(Kind.CUT, inside, 0)

    def _write(self, words: list[str], answer: int) -> Iterator[Operation]:
        number, path = self._file(words[0])
        data = _bytes(words[1])[:answer]
        if path == self._said:
            yield Operation(Kind.SAID, PurePath(), data=data)
            return
        inside = self._inside(path)
        if inside is not None:
            place = self._places[number]
            yield self._written(inside, self._sizes[inside] if place is None else place, data)
            if place is not None:
                self._places[number] = place + answer

    def _pwrite64(self, words: list[str], answer: int) -> Iterator[Operation]:
        inside = self._inside(self._file(words[0])[1])
        if inside is not None:
            yield self._written(inside, int(words[3]), _bytes(words[1])[:answer])

    def _lseek(self, words: list[str], answer: int) -> Iterator[Operation]:
        number, _ = self._file(words[0])
        if self._places.get(number) is not None:
            self._places[number] = answer
        yield from ()

    def _fsync(self, words: list[str], _: int) -> Iterator[Operation]:
        path = self._file(words[0])[1]
        inside = self._inside(path)
        if inside is not None:
            yield Operation(Kind.SYNCED, inside)

    _fdatasync = _fsync

    def _ftruncate(self, words: list[str], _: int) -> Iterator[Operation]:
        inside = self._inside(self._file(words[0])[1])
        if inside is not None:
            self._sizes[inside] = int(words[1])
            yield Operation(Kind.CUT, inside, int(words[1]))

    def _rename(self, words: list[str], _: int) -> Iterator[Operation]:
        old, new = (self._inside(Path(_text(word))) for word in words)
        if old is not None and new is not None:
            self._sizes[new] = self._sizes.pop(old)
            yield Operation(Kind.RENAMED, old, to=new)

    def _unlink(self, words: list[str], _: int) -> Iterator[Operation]:
        inside = self._inside(Path(_text(words[0])))
        if inside is not None:
            del self._sizes[inside]
            yield Operation(Kind.REMOVED, inside)

    def _close(self, words: list[str], _: int) -> Iterator[Operation]:
        self._places.pop(self._file(words[0])[0], None)
        yield from ()

    def _unknown(self, words: list[str], _: int) -> Iterator[Operation]:
        said = " ".join(_text(word) for word in words)
        assert str(self._folder) not in said, f"a call that this recorder does not know: {said[:300]}"
        yield from ()

    def _written(self, inside: PurePath, at: int, data: bytes) -> Operation:
        self._sizes[inside] = max(self._sizes[inside], at + len(data))
        return Operation(Kind.WRITTEN, inside, at, data)

    def _inside(self, path: Path | None) -> PurePath | None:
        """Its name in the folder; None if it is elsewhere, or a file that has no name any more."""
        if path is None or not path.is_relative_to(self._folder):
            return None
        return PurePath(path.relative_to(self._folder))

    @staticmethod
    def _file(word: str) -> tuple[int, Path | None]:
        found = FILE.match(word)
        if found is None:
            return -1, None
        return int(found[1]), None if found[3] else Path(_text(found[2]))


def _bytes(word: str) -> bytes:
    return bytes.fromhex(word.strip('"').replace("\\x", ""))


def _text(word: str) -> str:
    """A word of strace with what it writes in hexadecimal as it is."""
    return re.sub(r'"?((?:\\x[0-9a-f]{2})+)"?', lambda found: _bytes(found[1]).decode(errors="replace"), word)
