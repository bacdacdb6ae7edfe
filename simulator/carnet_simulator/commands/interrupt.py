"""Keeps Ctrl-C and SIGTERM away from a moment in which they would leave something half open."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """An interrupt that comes inside is raised as KeyboardInterrupt at the end. For the main thread only."""
    pending: list[int] = []
    before = {
        number: signal.signal(number, lambda received, _: pending.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if pending:
        raise KeyboardInterrupt
