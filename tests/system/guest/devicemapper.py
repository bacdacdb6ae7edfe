"""The kernel's device mapper by its ioctl: a disk of which dm-log-writes writes everything down. Root, in the guest.

As in the kernel's include/uapi/linux/dm-ioctl.h; no program of a package is needed.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTROL = Path("/dev/mapper/control")
NAME = "logged"
DEVICE = Path("/dev/dm-0")
CREATE, REMOVE, SUSPEND, LOAD, MESSAGE = 3, 4, 6, 9, 14
HEADER = struct.Struct("=3I2I I i 3I Q 128s 129s 7x")
TARGET = struct.Struct("=QQiI16s")
WRITABLE_ANSWER = 16384
MARK_BYTES_MAX = 400


def insert(module: str, *options: str) -> None:
    """Load a module of the guest's kernel, and what it needs, unless it is there already."""
    if Path("/sys/module", module.rpartition("/")[2].replace("-", "_")).exists():
        return
    words = dict(word.partition("=")[::2] for word in Path("/proc/cmdline").read_text().split())
    (found,) = Path(words["carnet.modules"]).glob(f"{module}.ko*")
    subprocess.run(["/sbin/insmod", str(found), *options], check=True)


@contextmanager
def logged(disk: Path, log: Path) -> Iterator[Path]:
    """The device of which every write goes to ``disk`` and is written down in ``log``."""
    insert("drivers/md/dm-mod")
    insert("drivers/md/dm-log-writes")
    with disk.open("rb") as device:
        sectors = device.seek(0, os.SEEK_END) // 512
    table = f"{disk} {log}".encode() + b"\0"
    size = TARGET.size + len(table) + -len(table) % 8
    _ask(CREATE)
    try:
        target = TARGET.pack(0, sectors, 0, size, b"log-writes")
        _ask(LOAD, (target + table).ljust(size, b"\0"), targets=1)
        _ask(SUSPEND)
        yield DEVICE
    finally:
        _ask(REMOVE)


def mark(text: str) -> None:
    """Write a word of ours into the log: all that is safe now stands before it."""
    assert len(text) < MARK_BYTES_MAX and " " not in text
    _ask(MESSAGE, struct.pack("=Q", 0) + f"mark {text}".encode() + b"\0")


def _ask(what: int, data: bytes = b"", targets: int = 0) -> None:
    size = HEADER.size + max(len(data), WRITABLE_ANSWER)
    header = HEADER.pack(4, 0, 0, size, HEADER.size, targets, 0, 0, 0, 0, 0, NAME.encode(), b"")
    call = 3 << 30 | HEADER.size << 16 | 0xFD << 8 | what
    with CONTROL.open("rb") as control:
        fcntl.ioctl(control, call, bytearray((header + data).ljust(size, b"\0")), True)
