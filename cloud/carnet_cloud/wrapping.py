"""Keys that seal the outbox, wrapped by a key in a file outside the database and its backups.

Law: living keys are wrapped anew each hour and the old wrapping key is destroyed, so that what a deleted row leaves
behind (write-ahead log, dead pages, backups) is unreadable within the hour.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from carnet.errors import ConfigError
from carnet_cloud.store import Store

KEY_BYTES = 32
NONCE_BYTES = 24
ID_BYTES = 8
ROTATE_MS = 3_600_000


class Wrapping:
    """The wrapping keys in ``folder``: one file a key, named by its random id;
    the newest wraps, the others only open.
    """

    def __init__(self, folder: Path, random: Callable[[int], bytes]) -> None:
        self._folder = folder
        self._random = random
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = {path: _read(path) for path in sorted(folder.glob("*.key"))}
        self._keys = {bytes.fromhex(path.stem): key for path, key in found.items() if key is not None}
        for path in (path for path, key in found.items() if key is None):
            path.unlink()
        self._current = next(iter(self._keys), b"")
        if not self._keys:
            self._make()

    def is_there(self) -> bool:
        """Whether the key in use still lies on the disk: without it the next start reads nothing that waits."""
        return (self._folder / f"{self._current.hex()}.key").exists()

    def wrap(self, key: bytes) -> tuple[bytes, bytes]:
        """(wrapped, id of the wrapping key)"""
        # read once: another thread may be changing the wrapping key
        current = self._current
        return seal(key, self._keys[current], current, self._random), current

    def unwrap(self, wrapped: bytes, wrapping_key: bytes) -> bytes | None:
        """None if the wrapping key is gone: what it wrapped is forgotten."""
        key = self._keys.get(wrapping_key)
        return open_sealed(wrapped, key, wrapping_key) if key else None

    def rotate(self, store: Store) -> int:
        """Wrap every living key anew, then destroy the old wrapping keys; the number of keys wrapped.

        The new key is on disk before the transaction that uses it, the old ones go after it: a crash between leaves one
        key too many, never one too few.
        """
        old = list(self._keys)
        self._make()
        count = 0
        with store.transaction() as t:
            for record, recipient, wrapped, wrapping_key in t.outbox.all_keys():
                key = self.unwrap(wrapped, wrapping_key)
                if key is None:
                    t.outbox.destroy(record, 0)
                    continue
                t.outbox.set_key(record, recipient, *self.wrap(key))
                count += 1
        for name in old:
            path = self._folder / f"{name.hex()}.key"
            path.write_bytes(bytes(KEY_BYTES))
            path.unlink()
            del self._keys[name]
        return count

    def _make(self) -> None:
        name, key = self._random(ID_BYTES), self._random(KEY_BYTES)
        descriptor = os.open(self._folder / f"{name.hex()}.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            # a key whose name a power cut loses would take the whole outbox with it
            os.fsync(folder)
        finally:
            os.close(folder)
        self._keys[name] = key
        self._current = name


def seal(plain: bytes, key: bytes, context: bytes, random: Callable[[int], bytes]) -> bytes:
    """XChaCha20-Poly1305 with a random nonce in front; ``context`` is bound as additional data."""
    nonce = random(NONCE_BYTES)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, context, nonce, key)


def open_sealed(sealed: bytes, key: bytes, context: bytes) -> bytes | None:
    """None if it does not open."""
    if len(sealed) < NONCE_BYTES:
        return None
    try:
        return bytes(
            crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[NONCE_BYTES:], context, sealed[:NONCE_BYTES], key)
        )
    except CryptoError:
        return None


def _read(path: Path) -> bytes | None:
    """None for what a crash left of a key that was being made or destroyed: it wraps nothing that is needed."""
    key = path.read_bytes()
    if not any(key):
        return None
    if len(key) != KEY_BYTES:
        raise ConfigError("wrapping_key_broken", f"{path} is not a wrapping key of {KEY_BYTES} bytes")
    return key
