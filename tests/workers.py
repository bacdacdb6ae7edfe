"""How a whole run of the tests is spread over the cores of this machine.

Law: what starts real programs and measures their time stays in one worker, one test after the other; and whichever
worker a test runs in, it finds no port and no file that another worker uses.
"""

from __future__ import annotations

import os
from typing import Final

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

WORKERS_MAX: Final = 4
TOGETHER: Final = ("tests/system/", "tests/store/")
"""Folders whose files are one piece of work: they share guests, demos or a database server, and wait for real time."""
APART: Final = ("tests/system/test_units.py",)
"""But these: a guest of its own is its machine, and it takes as long as everything else there that is waited for."""
LONG: Final = ("tests/system/", "tests/world/", "tests/fuzz/", "tests/store/", "tests/attacks/", "tests/cloud/")
"""What is begun first, in this order, so that no long piece is left when all others are done."""


def worker_count() -> int:
    """One a core, and one more for the time in which the first waits for real programs."""
    return min(len(os.sched_getaffinity(0)) + 1, WORKERS_MAX)


def piece_of(test: str) -> str:
    """What goes to one worker as a whole: a file, whose tests may share what was costly to make, or a folder."""
    file = test.partition("::")[0]
    return file if file in APART else next((folder for folder in TOGETHER if file.startswith(folder)), file)


def turn_of(test: str) -> int:
    """The place of a test's piece in the order of a spread run."""
    return next((turn for turn, start in enumerate(LONG) if test.startswith(start)), len(LONG))


def is_port_of_ours(port: int) -> bool:
    """Whether this worker may use a port that was free: each has ports of its own, so that two never race for one."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    # Linux prefers ports of one parity where it chooses: the last bit says nothing.
    return port // 2 % WORKERS_MAX == number % WORKERS_MAX


class Spread(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whole pieces, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)
