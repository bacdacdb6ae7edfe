"""What a command writes with ``--out``.

Law: a file appears under its name only when it is whole, and what is no file (a pipe, a device) is never replaced by
one. Whoever asks finds out before any work is done that nothing can be written there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from carnet.errors import ConfigError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A stream to ``path``; what an error leaves unfinished is gone. ConfigError ``out_unwritable``."""
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                yield stream
            return
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with part.open("wb") as stream:
            try:
                yield stream
                stream.flush()
            except BaseException:
                part.unlink()
                raise
        part.replace(path)
    except OSError as error:
        raise ConfigError("out_unwritable", f"{path}: cannot be written: {error.strerror}") from error
