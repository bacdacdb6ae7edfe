"""Shell: how a program of ours ends: with its exit code, and with one sentence on standard error if it failed."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import Final

from carnet.errors import ConfigError, Error

INTERRUPTED: Final = 130
UNREAD: Final = 141
"""As a shell tells of whom SIGPIPE ended: done it is not, and may not pass for it."""


def finish(program: str, run: Callable[[], int]) -> int:
    """The exit code: that of ``run``, 1 if something was refused or failed, 2 for command line or configuration.

    ``run`` is all of the program, its command line and its imports too: they take longer than many a command.
    Whoever has read enough (``| head``) gets no traceback, and the program writes and does nothing more.
    """
    try:
        try:
            return run()
        except Error as error:
            print(f"{program}: {error}", file=sys.stderr)
            return 2 if isinstance(error, ConfigError) else 1
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            # what waits in the buffer would else be written, and complained about, after the last line of Python
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD


def _nobody_reads() -> bool:
    """Whether it was standard output that broke, and no connection."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return bool(output.poll(0))
