"""Secret keys on disk: made once, for their owner's eyes alone, and never overwritten."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from carnet.errors import ConfigError


def write(file: Path, text: str) -> None:
    """A new key file, durable. ConfigError if there is one: what only a lost key opens or signs is lost with it."""
    folder = file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        if isinstance(e, FileExistsError) and folder.is_dir():
            raise ConfigError("key_exists", f"{file} exists: keys are never overwritten, name another one") from e
        raise ConfigError("folder_unwritable", f"{folder} cannot be made or written: {e.strerror}") from e
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())


def read(file: Path, made_by: str) -> str:
    """The text of a key file; ConfigError if it is missing or readable by others."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError("key_missing", f"{file} cannot be read: make a key with  {made_by}") from e
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("key_permissions", f"{file} is readable by others: chmod 600 {file}")
    return text
