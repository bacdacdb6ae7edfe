"""Keys that seal the outbox, wrapped by a key in a file outside the database and its backups.

Law: living keys are wrapped anew each hour and the old wrapping key is destroyed, so that what a deleted row leaves
behind (write-ahead log, dead pages, backups) is unreadable within the hour.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from carnet.errors import ConfigError, UnavailableError
from carnet_cloud.store import Store

KEY_BYTES = 32
NONCE_BYTES = 24
ID_BYTES = 8
ROTATE_MS = 3_600_000


class Wrapping:
    """The wrapping keys in ``folder``: one file a key, named by its random id;
    the newest wraps, the others only open. Programs on one store share the folder.
    """

    def __init__(self, folder: Path, random: Callable[[int], bytes]) -> None:
        self._folder = folder
        self._random = random
        self._keys: dict[bytes, bytes] = {}
        """By id, the oldest first."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in (path for path in folder.glob("*.key") if _read(path) is None):
            path.unlink(missing_ok=True)
        self._look()
        if not self._keys:
            self._make()

    def is_there(self) -> bool:
        """Whether the key in use still lies on the disk: without it the next start reads nothing that waits."""
        return self._path(next(reversed(self._keys))).exists()

    def wrap(self, key: bytes) -> tuple[bytes, bytes]:
        """(wrapped, id of the wrapping key). Called while nobody changes the wrapping keys (`Others.wrap`)."""
        self._look()
        return self._wrapped(key)

    def unwrap(self, wrapped: bytes, wrapping_key: bytes) -> bytes | None:
        """None if the wrapping key is gone: what it wrapped is forgotten."""
        if wrapping_key not in self._keys:
            # another program on the store has made it
            self._look()
        key = self._keys.get(wrapping_key)
        return open_sealed(wrapped, key, wrapping_key) if key else None

    def rotate(self, store: Store, now_ms: int) -> int:
        """Wrap every living key anew, then destroy the old wrapping keys; the number of keys wrapped. ``now_ms``: the
        server's clock, for what became of events whose key is gone.

        The new key is on disk before the transaction that uses it ends, the old ones go after it: a crash between
        leaves one key too many, never one too few.
        """
        count = 0
        with store.transaction() as t:
            t.others.rewrap()
            self._look()
            old = list(self._keys)
            self._make()
            for record, recipient, wrapped, wrapping_key in t.outbox_keys.all():
                key = self.unwrap(wrapped, wrapping_key)
                if key is None:
                    t.outbox.destroy(record, now_ms)
                    continue
                t.outbox_keys.rewrap(record, recipient, *self._wrapped(key))
                count += 1
        for name in old:
            self._destroy(name)
        return count

    def _wrapped(self, key: bytes) -> tuple[bytes, bytes]:
        newest = next(reversed(self._keys))
        return seal(key, self._keys[newest], newest, self._random), newest

    def _look(self) -> None:
        """Know what lies in the folder, and nothing else: what another program has destroyed is forgotten here too.

        UnavailableError if nothing lies there any more: no program destroys the last one, so what was there may come
        back (a disk that is not mounted), and nothing may be given up for it.
        """
        found = [(_made_ns(path) or 0, path) for path in self._folder.glob("*.key")]
        keys = {bytes.fromhex(path.stem): _read(path) for _, path in sorted(found)}
        left = {name: key for name, key in keys.items() if key is not None}
        if self._keys and not left:
            raise UnavailableError(
                "wrapping_keys_missing",
                "store.wrapping_keys: no key is left in the folder: put them back, or start the cloud again without",
            )
        self._keys = left

    def _make(self) -> None:
        name, key = self._random(ID_BYTES), self._random(KEY_BYTES)
        path, unfinished = (self._folder / f"{name.hex()}.{kind}" for kind in ("key", "new"))
        newest_ns = max((_made_ns(self._path(known)) or 0 for known in self._keys), default=0)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        made_ns = max(unfinished.stat().st_mtime_ns, newest_ns + 1)
        # the newest by its time, whatever the clock says, and never seen half
        os.utime(unfinished, ns=(made_ns, made_ns))
        unfinished.rename(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            # a key whose name a power cut loses would take the whole outbox with it
            os.fsync(folder)
        finally:
            os.close(folder)
        self._keys[name] = key

    def _destroy(self, name: bytes) -> None:
        """Zeros are on the disk before the name goes: else a power cut could bring the key back."""
        path = self._path(name)
        with contextlib.suppress(FileNotFoundError):
            with path.open("r+b") as file:
                file.write(bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        self._keys.pop(name, None)

    def _path(self, name: bytes) -> Path:
        return self._folder / f"{name.hex()}.key"


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


def _made_ns(path: Path) -> int | None:
    """When a key was made; None if another program has destroyed it meanwhile."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _read(path: Path) -> bytes | None:
    """None for what is being destroyed, or was when a crash came: it wraps nothing that is needed."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if not any(key):
        return None
    if len(key) != KEY_BYTES:
        raise ConfigError("wrapping_key_broken", f"{path} is not a wrapping key of {KEY_BYTES} bytes")
    return key
