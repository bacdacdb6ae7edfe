"""A world in which a law is broken, made smaller: less driving and fewer mischiefs, as long as the same law breaks.

Law: every try is a world of its own from the same seed, so a smaller one can be had again by its command.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.world.plan import DRIVE_MS, Entry
from tests.world.world import START_MS, World

MARGIN_MS = 1_000
TRIES_MAX = 120


@dataclass(frozen=True)
class Life:
    """One run of a seed with a part of its plan. ``complaint``: empty if nothing broke."""

    seed: int
    without: frozenset[int]
    drive_ms: int
    complaint: str = ""
    broke_ms: int = 0
    """After the start."""
    frames: int = 0
    entries: tuple[Entry, ...] = ()

    @property
    def command(self) -> str:
        left_out = f" --without {','.join(map(str, sorted(self.without)))}" if self.without else ""
        shorter = f" --drive-ms {self.drive_ms}" if self.drive_ms != DRIVE_MS else ""
        return f"PYTHONHASHSEED=0 .venv/bin/python -m tests.world {self.seed}{left_out}{shorter}"

    def __str__(self) -> str:
        return "\n".join(
            [self.complaint, f"{self.frames} frames and:", *map(str, self.entries), f"again: {self.command}"]
        )


def live(seed: int, without: frozenset[int] = frozenset(), drive_ms: int = DRIVE_MS) -> Life:
    """Run it."""
    world, complaint = World(seed, without, drive_ms), ""
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 - whatever breaks a world is what we look for
        complaint = f"{type(error).__name__}: {error}"
    finally:
        world.close()
    happened = tuple(world.plan.entries)
    return Life(seed, without, drive_ms, complaint, world.clockwork.now_ms - START_MS, world.unit.frames, happened)


def kind_of(complaint: str) -> str:
    """Which law it is, whatever names and numbers are in the sentence."""
    words = re.sub(
        r"\b(rec|rcp|off)_\w+|Vehicle\.[\w.]+|-?\d[\d.]*", "#", complaint.splitlines()[0] if complaint else ""
    )
    return words.partition(";")[0][:60]


class Shrinker:
    """``tries``: how many lives it took."""

    def __init__(self, broken: Life, tries_max: int = TRIES_MAX) -> None:
        self.smallest, self._kind, self._tries_max = broken, kind_of(broken.complaint), tries_max
        self.tries = 0

    def shrink(self) -> Life:
        """The smallest life that was found; every entry of it is needed, unless there were too many to try."""
        self._drive_less()
        size = max(1, len(self.smallest.entries) // 2)
        while size and self.tries < self._tries_max:
            if not self._leave_out(size):
                size //= 2
        self._drive_less()
        return self.smallest

    def _drive_less(self) -> None:
        """No frame after the one that breaks it; if it breaks at the end, half as long as long as that does."""
        now = self.smallest
        if now.broke_ms < now.drive_ms:
            self._still_breaks(now.without, min(now.drive_ms, now.broke_ms + MARGIN_MS))
            return
        drive_ms = now.drive_ms // 2
        while drive_ms >= MARGIN_MS and self._still_breaks(now.without, drive_ms):
            drive_ms //= 2

    def _leave_out(self, size: int) -> bool:
        """Leave out so many entries that stand together, wherever that still breaks it; whether it did anywhere."""
        did = False
        numbers = [entry.number for entry in self.smallest.entries]
        for some in _pieces(numbers, size):
            did |= self._still_breaks(self.smallest.without | set(some), self.smallest.drive_ms)
        return did

    def _still_breaks(self, without: frozenset[int], drive_ms: int) -> bool:
        if self.tries == self._tries_max:
            return False
        self.tries += 1
        found = live(self.smallest.seed, without, drive_ms)
        if kind_of(found.complaint) != self._kind:
            return False
        self.smallest = found
        return True


def _pieces(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    """From the last one to the first: what comes early is the cause of more."""
    return [numbers[at : at + size] for at in range(0, len(numbers), size)][::-1]
