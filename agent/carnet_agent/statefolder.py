"""The unit's state folder: where each file lies, and the lock that lets one agent at a time work in it.

Law: nobody else may enter the folder, and whoever changes something in it holds the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from carnet.errors import ConfigError, UnavailableError

BUFFER_FILE = "buffer.db"
CONSENT_FILE = "consent.db"
SOCKET_FILE = "agent.sock"
LOCK_FILE = "lock"
COMPILED_FOLDER = "compiled"


def make(state: Path) -> None:
    """The folder, with mode 0700; ConfigError if it cannot be made or others may enter it."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = state.stat().st_mode
    except OSError as error:
        raise ConfigError("state_unusable", f"{state} cannot be made: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError("state_permissions", f"{state} can be entered by others: chmod 700 {state}")


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """Work alone in the folder; UnavailableError ``agent_running`` if somebody else does."""
    make(state)
    try:
        descriptor = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UnavailableError("state_unwritable", f"{state} cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnavailableError("agent_running", f"an agent is at work in {state}; stop it first") from None
        yield
    finally:
        os.close(descriptor)


def at_work(state: Path) -> bool:
    """Whether somebody works in the folder now; nothing is made and nobody is kept from beginning."""
    try:
        descriptor = os.open(state / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
