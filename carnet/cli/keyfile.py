"""Secret keys on disk: made once, for their owner's eyes alone, and never overwritten."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from carnet.errors import ConfigError
from carnet.keys import KEY_FILE_HEAD

TEXT_MAX: Final = 4096
Key = TypeVar("Key")


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


def read(file: Path, made_by: str, parse: Callable[[str], Key]) -> Key:
    """The key in a file; ConfigError if it is missing, no such key, or, being one, readable by others."""
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(TEXT_MAX)
            mode = os.fstat(opened.fileno()).st_mode
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError("key_missing", f"{file} cannot be read: make a key with  {made_by}") from e
    try:
        key = parse(text)
    except ConfigError as e:
        public = '"kty"' in text and not text.startswith(KEY_FILE_HEAD)
        what = "this is the public key: the secret one is needed, which was made with it" if public else e
        raise ConfigError(e.reason, f"{file}: {what}") from e
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("key_permissions", f"{file} is readable by others: chmod 600 {file}")
    return key
