"""Processes that end as they are told: a function in a child of this process, and its verdict in this one.

Law: a child is bounded in processor time, memory and time on the wall, so that a mutant that never ends is one that
was noticed; and whatever it has changed in its memory is gone with it.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

SURVIVED, KILLED, BROKEN, UNFIT = range(4)
"""UNFIT: it could not be tried in this way."""
MEMORY_BYTES_MAX = 4 << 30
WALL_S_MAX = 180.0
POLL_S = 0.002


def verdict(function: Callable[[], int], cpu_s: int) -> int:
    """What ``function`` returns in a child; KILLED if the child has to be ended or dies."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        _leave(function)
    until = time.monotonic() + WALL_S_MAX
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else KILLED
        time.sleep(POLL_S)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return KILLED


def told(function: Callable[[Callable[[Any], None]], None]) -> Iterator[Any]:
    """Everything that ``function`` says, in a child, by the function that it is handed; RuntimeError if it fails."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:

            def say(what: Any) -> None:
                pickle.dump(what, pipe)
                pipe.flush()

            def run() -> int:
                function(say)
                return 0

            _leave(run, pipe.flush)
    os.close(writing)
    with os.fdopen(reading, "rb") as heard:
        while True:
            try:
                yield pickle.load(heard)
            except EOFError:
                break
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"a child ended with {status}")


def _leave(function: Callable[[], int], last: Callable[[], None] = lambda: None) -> None:
    """End this process with what ``function`` returns, whatever it raises, without the parent's clean-up."""
    code = BROKEN
    try:
        code = function()
        last()
    except SystemExit:
        code = KILLED
    except BaseException:  # noqa: BLE001 -- nothing may come back into the parent's code
        traceback.print_exc()
    finally:
        os._exit(code)
