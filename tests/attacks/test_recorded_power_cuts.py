"""The power goes at any moment of a car's, a cloud's and an owner's story: recorded calls, every disk they may leave.

Law 5 and 3; what each story promises stands in ``tests/powercut``.
"""

from __future__ import annotations

import importlib
import random
import subprocess
from pathlib import PurePath

import pytest

from tests.powercut.disk import Disk, Kind, Luck, Operation
from tests.powercut.recording import record
from tests.powercut.replay import replay, short_place
from tests.realparts import real_part

SEED = 1
A, B, FOLDER = PurePath("a"), PurePath("b"), PurePath()


@pytest.mark.parametrize(("story", "every", "disks"), [("car", 5, 300), ("cloud", 10, 100), ("owner", 5, 20)])
def test_f1_every_disk_that_a_power_cut_may_leave_is_started(story: str, every: int, disks: int) -> None:
    module = f"tests.powercut.{story}"
    with short_place() as place:
        operations = record(module, place)
        assert replay(importlib.import_module(module), operations, place / "cut", SEED, every=every) > disks
    version = subprocess.run(["strace", "-V"], capture_output=True, text=True, check=True).stdout.split()[3]
    real_part("strace", version)


# the model of the disk


def after(*operations: Operation) -> Disk:
    disk = Disk()
    for operation in operations:
        disk.do(operation)
    return disk


def lefts(disk: Disk, luck: Luck) -> set[tuple[tuple[PurePath, bytes], ...]]:
    """Everything that a hundred cuts leave."""
    source = random.Random(1)
    return {tuple(sorted(disk.left(luck, source).items())) for _ in range(100)}


MADE, SYNCED = Operation(Kind.MADE, A), Operation(Kind.SYNCED, A)
OLD = Operation(Kind.WRITTEN, A, 0, b"o" * 1024)
NEW = Operation(Kind.WRITTEN, A, 0, b"n" * 1024)


def test_what_was_synced_is_there_whatever_came_later() -> None:
    disk = after(MADE, OLD, SYNCED)
    assert all(lefts(disk, luck) == {((A, OLD.data),)} for luck in Luck)
    assert lefts(after(MADE, OLD), Luck.NOTHING) == {()}


def test_a_sector_is_old_or_new_and_a_write_whole_or_torn() -> None:
    disk = after(MADE, OLD, SYNCED, NEW)
    halves = {((A, first * 512 + second * 512),) for first in (b"o", b"n") for second in (b"o", b"n")}
    assert lefts(disk, Luck.TORN) == halves
    assert lefts(disk, Luck.SOME) == {((A, OLD.data),), ((A, NEW.data),)}


def test_a_file_does_not_grow_past_a_hole() -> None:
    disk = after(MADE, OLD, SYNCED, *(Operation(Kind.WRITTEN, A, at, b"n" * 512) for at in (1024, 1536)))
    assert {len(data) for ((_, data),) in lefts(disk, Luck.TORN)} == {1024, 1536, 2048}
    assert all(b"\0" not in data for ((_, data),) in lefts(disk, Luck.TORN))


def test_a_new_name_waits_for_its_folder_and_names_keep_their_order() -> None:
    renamed = (Operation(Kind.RENAMED, A, to=B), Operation(Kind.MADE, A), Operation(Kind.REMOVED, B))
    disk = after(MADE, OLD, SYNCED, *renamed)
    assert lefts(disk, Luck.NOTHING) == {((A, OLD.data),)}
    old, new, both = ((A, OLD.data),), ((B, OLD.data),), ((A, b""), (B, OLD.data))
    assert lefts(disk, Luck.SOME) == {old, new, both, ((A, b""),)}
    disk.do(Operation(Kind.SYNCED, FOLDER))
    assert lefts(disk, Luck.NOTHING) == {((A, b""),)}
