"""Start a story's program on every disk that a power cut could have left of it."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from tests.powercut.disk import Disk, Image, Kind, Luck, Operation
from tests.powercut.story import Facts, Story

MEMORY = Path("/dev/shm")
Cut = tuple[int, Luck, Image, list[Facts]]
"""Behind which operation, with what luck, what it left, and what had been said."""


@contextmanager
def short_place() -> Iterator[Path]:
    """A folder of a moment, in memory where there is such a file system: what is started there syncs at every step, and
    what a sync means is the model's business.
    """
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as name:
        yield Path(name)


def replay(story: Story, operations: Sequence[Operation], folder: Path, seed: int, every: int = 1) -> int:
    """How many different disks were started. AssertionError names the cut and what was broken.

    ``every``: of the cuts between two syncs only each so many, by chance.
    """
    count = 0
    for number, luck, image, said in cuts(operations, random.Random(seed), every):
        lay(folder, image)
        try:
            story.check(folder, said)
        except Exception as error:
            where = (
                f"cut behind operation {number} of {len(operations)}, {luck.value} of what was not synced, seed {seed}"
            )
            raise AssertionError(f"{story.__name__}: {where}: {error!r}; said last: {said[-1:]}") from error
        count += 1
    return count


def cuts(operations: Sequence[Operation], source: random.Random, every: int) -> Iterator[Cut]:
    """A cut behind every operation with one luck, and with every luck where most is open or something was promised."""
    disk, said, seen = Disk(), list[Facts](), set[tuple[object, ...]]()
    for number, operation in enumerate(operations):
        disk.do(operation)
        if operation.kind is Kind.SAID:
            said.append(json.loads(operation.data))
        follows = operations[number + 1].kind if number + 1 < len(operations) else Kind.SYNCED
        is_full = operation.kind is Kind.SAID or follows in {Kind.SYNCED, Kind.SAID}
        lucks = list(Luck) if is_full else [source.choice(list(Luck))] if source.randrange(every) == 0 else []
        for luck in lucks:
            image = disk.left(luck, source)
            key = (len(said), *sorted((str(path), hash(data)) for path, data in image.items()))
            if key not in seen:
                seen.add(key)
                yield number, luck, image, list(said)


def lay(folder: Path, image: Image) -> None:
    """What the start finds; the oldest file first, as they were made."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, data in image.items():
        (folder / PurePath(path)).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        (folder / path).chmod(0o600)
