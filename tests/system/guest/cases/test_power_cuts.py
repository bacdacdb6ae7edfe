"""The power goes under a real file system: ext4 over dm-log-writes, which says what a disk would have at every flush.

The stories are those of ``tests/powercut``: what they promised must be there after a real mount of every such disk.
Where CARNET_CUTS=all every flush and every promise is a cut, otherwise some are.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.powercut.story import Facts
from tests.system.guest import devicemapper, logwrites

DISK, LOG, REPLAYED = Path("/dev/ubda"), Path("/dev/ubdb"), Path("/dev/ram0")
EXT4 = ("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-E", "nodiscard,lazy_itable_init=0")
CHOSEN = 1.0 if os.environ.get("CARNET_CUTS") == "all" else 0.06
"""The part of the safe points that are cuts."""


@contextmanager
def mounted(device: Path, folder: Path) -> Iterator[Path]:
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir(exist_ok=True)
    if libc.mount(str(device).encode(), str(folder).encode(), b"ext4", 0, None):
        raise OSError(ctypes.get_errno(), f"{device} cannot be mounted")
    try:
        yield folder
    finally:
        gc.collect()  # what the program still held open in a circle
        if libc.umount2(str(folder).encode(), 0):
            raise OSError(ctypes.get_errno(), f"{folder} is in use")


def write(device: Path, data: bytearray) -> None:
    with device.open("r+b", buffering=0) as file:
        os.write(file.fileno(), data)
        os.fsync(file.fileno())


def told(story: str, place: Path) -> tuple[bytes, list[logwrites.Entry], list[Facts]]:
    """The empty file system, what was written to it while the story was told, and what was said; a mark for each."""
    subprocess.run([*EXT4, str(DISK)], check=True)
    base, said = DISK.read_bytes(), list[Facts]()

    def say(facts: Facts) -> None:
        said.append(facts)
        devicemapper.mark(str(len(said)))

    with devicemapper.logged(DISK, LOG) as device, mounted(device, place) as root:
        (root / "disk").mkdir()
        importlib.import_module(f"tests.powercut.{story}").work(root / "disk", say)
    with LOG.open("rb") as log:
        entries = logwrites.parse(log)
    marks = [entry.mark for entry in entries if entry.mark]
    assert marks == [*(str(number + 1) for number in range(len(said))), logwrites.END]
    return base, entries, said


def require_promises(story: str, place: Path, said: Sequence[Facts]) -> None:
    with mounted(REPLAYED, place) as root:
        (root / "disk").mkdir(exist_ok=True)
        importlib.import_module(f"tests.powercut.{story}").check(root / "disk", said)


@pytest.mark.parametrize("story", ["car", "cloud", "owner"])
def test_f1_what_was_promised_is_on_the_file_system_at_every_flush(story: str, tmp_path: Path) -> None:
    base, entries, said = told(story, tmp_path / "told")
    devicemapper.insert("drivers/block/brd", "rd_nr=1", f"rd_size={len(base) // 1024}")
    count = 0
    for state in logwrites.states(base, entries, random.Random(1), CHOSEN):
        write(REPLAYED, state.disk)
        try:
            require_promises(story, tmp_path / "cut", said[: len(state.marks)])
        except Exception as error:
            where = f"cut behind entry {state.reached} of {len(entries)} and {len(state.marks)} of {len(said)} promises"
            raise AssertionError(f"{story}: {where}: {error!r}") from error
        count += 1
    print(f"{story}: {count} disks of {len(entries)} entries")
    assert count > len(said) * CHOSEN
