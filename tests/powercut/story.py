"""A story: what a program does to a folder, what it promises to others meanwhile, and what a start must find then.

Law: a promise is said when the call that makes it has returned, never before; what a call may take away is said before
it is begun.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

Facts = dict[str, Any]
"""What is said at once: names and values that JSON knows."""
Say = Callable[[Facts], object]


class Story(Protocol):
    """A module. ``work`` is done once; ``check`` starts the real thing on a disk that a cut has left, and raises
    AssertionError if one of the promises made before is broken.
    """

    __name__: str

    def work(self, folder: Path, say: Say) -> None: ...

    def check(self, folder: Path, said: Iterable[Facts]) -> None: ...


def tell(work: Callable[[Path, Say], None]) -> None:
    """The program: ``FOLDER SAID``."""
    folder, said = map(Path, sys.argv[1:])
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(facts: Facts) -> None:
        os.write(descriptor, json.dumps(facts).encode())

    work(folder, say)


def values(said: Iterable[Facts], name: str) -> list[Any]:
    """Everything that was said under a name."""
    return [facts[name] for facts in said if name in facts]
