"""Two clocks are one moment only if nothing comes between their readings."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from carnet_agent import instant
from carnet_agent.instant import TRIES, Instant

REAL_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def read(monkeypatch: pytest.MonkeyPatch, pauses_ns: Sequence[int]) -> tuple[Instant, int]:
    """What is read by a thread that is put aside for so long between the clocks, in turn; and how often it read."""
    boot, left = [0], list(pauses_ns)

    def real_ns() -> int:
        said = REAL_NS + boot[0]
        boot[0] += left.pop(0)
        return said

    with monkeypatch.context() as patch:
        patch.setattr(instant, "boottime_ns", lambda: boot[0])
        patch.setattr(time, "time_ns", real_ns)
        now = Instant.now()
    return now, len(pauses_ns) - len(left)


def test_clocks_that_are_read_at_once_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, count = read(monkeypatch, [100_000, 0])
    assert (now, count) == (Instant(50_000, REAL_NS), 1)


def test_a_thread_that_was_put_aside_between_them_reads_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now, count = read(monkeypatch, [40 * MS, 20 * MS, 1000, 0])
    assert (now.real_ns - now.boot_ns, count) == (REAL_NS - 500, 3)


def test_the_closest_reading_counts_if_none_is_close(monkeypatch: pytest.MonkeyPatch) -> None:
    now, count = read(monkeypatch, [40 * MS, 10 * MS, 30 * MS, 20 * MS, 50 * MS, 0])
    assert (now.real_ns - now.boot_ns, count) == (REAL_NS - 5 * MS, TRIES)


def test_the_present_is_now() -> None:
    before_ns = time.time_ns()
    now = Instant.now()
    assert before_ns <= now.real_ns <= time.time_ns()
    assert 0 < now.boot_ns <= instant.boottime_ns()
