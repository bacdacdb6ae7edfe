"""The power goes before the change of the disk with a number, wherever in our code that is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHANGES = {"os.remove", "os.rename", "os.symlink", "os.mkdir", "os.rmdir"}
WRITING = 0o3
"""Flags of an opening that may write."""


class Cut(BaseException):
    """The power goes."""


class Effects:
    """Cuts before the change of the disk with a number; -1: never."""

    def __init__(self) -> None:
        self.left = -1
        sys.addaudithook(self._happens)

    @contextmanager
    def cut_before(self, number: int) -> Iterator[None]:
        self.left = number
        try:
            yield
        finally:
            self.left = -1

    def _happens(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left < 0 or not (event in CHANGES or (event == "open" and (arguments[2] or 0) & WRITING)):
            return
        if self.left == 0:
            raise Cut
        self.left -= 1


EFFECTS = Effects()
