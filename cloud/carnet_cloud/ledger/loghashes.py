"""The leaf hashes of each tenant's log, outside of the database and its backups: no place is ever signed for twice.

Law: hashes are on disk here before a checkpoint over them is. A store that was restored from a backup takes back from
here what it has forgotten of the tree, so its log goes on and does not fork; the leaves themselves are gone.

A file for each tenant, 32 bytes a leaf in the order of the log. They tell nothing: every leaf has a salt.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import Final

from carnet.errors import FormatError, UnavailableError
from carnet.ids import TENANT, parse_id
from carnet.ledger.merkle import HASH_BYTES

PREFIX: Final = "log-"


class LogHashes:
    """Files in ``folder``, that of the journal of narrowings."""

    def __init__(self, folder: Path, fsync: Callable[[int], None] = os.fsync) -> None:
        self._folder = folder
        self._fsync = fsync
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def tenants(self) -> list[str]:
        """Whose log has a file. A copy that somebody has laid beside it is nobody's."""
        names = (path.name.removeprefix(PREFIX) for path in self._folder.glob(f"{PREFIX}*"))
        return sorted(name for name in names if _is_tenant(name))

    def size(self, tenant: str) -> int:
        """How many leaves there are; half a hash, which a power cut left, is none."""
        path = self._path(tenant)
        return path.stat().st_size // HASH_BYTES if path.exists() else 0

    def read(self, tenant: str, first: int, count: int) -> list[bytes]:
        """Hashes from the index ``first`` on."""
        if not count:
            return []
        with self._path(tenant).open("rb") as file:
            file.seek(first * HASH_BYTES)
            data = file.read(count * HASH_BYTES)
        return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]

    def append(self, tenant: str, first: int, hashes: Sequence[bytes]) -> None:
        """On disk when it returns, ``first`` being the index of the first one. UnavailableError: then nothing may be
        signed.

        What is there was signed, or is about to be, and is never cut off: another program may have added to it while
        this one stood still and its turn was over.
        """
        path = self._path(tenant)
        try:
            is_new = not path.exists()
            with FileIO(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "r+") as file:
                # nobody else has a turn: who is still in here stands still, and is not waited for
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                size = os.fstat(file.fileno()).st_size // HASH_BYTES
                if hashes and first != size:
                    raise UnavailableError("log_other", f"{path} has {size} leaves, not {first}: another signed")
                # half a hash
                file.truncate(size * HASH_BYTES)
                file.seek(size * HASH_BYTES)
                _write(file, b"".join(hashes))
                self._fsync(file.fileno())
            if is_new:
                self._sync_folder()
        except OSError as error:
            raise UnavailableError("log_unwritable", f"{path} cannot be written: {error.strerror}") from error

    def _path(self, tenant: str) -> Path:
        return self._folder / f"{PREFIX}{tenant}"

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            self._fsync(folder)
        finally:
            os.close(folder)


def _is_tenant(name: str) -> bool:
    try:
        parse_id(name, TENANT)
    except FormatError:
        return False
    return True


def _write(file: FileIO, data: bytes) -> None:
    """All of it, or OSError."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) or 0 :]
