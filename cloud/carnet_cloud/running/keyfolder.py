"""The cloud's own keys on disk: seal (open boxes), sign (answers), log (checkpoints), pseudonym (recipients' names of
vehicles).

Law: a secret file is readable by its owner alone, or it is not used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from carnet.errors import ConfigError
from carnet.keys import CLOUD_SEAL, CLOUD_SIGN, LOG_SIGN, SigningKey, encode_key, parse_box_key, parse_signing_key
from carnet.keyset import KeySet, PublicKey
from carnet_cloud.core import CloudKeys

PUBLIC_FILE = "cloud.public.json"
LOG_FILE = "log.key"
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """``keys`` for the receiver, ``log`` for checkpoints and ``pseudonym`` (32 bytes) for names."""

    keys: CloudKeys
    log: SigningKey
    pseudonym: bytes


def make(folder: Path, random: Callable[[int], bytes]) -> Path:
    """New keys in a new folder; the path of the public key set that units are paired with.
    ConfigError if there are keys.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = any(folder.iterdir())
    except OSError as e:
        raise ConfigError("folder_unwritable", f"{folder} cannot be made or read: {e.strerror}") from e
    if known:
        raise ConfigError("keys_exist", f"{folder} is not empty: keys are never overwritten, name a new folder")
    seal, sign = random(SECRET_BYTES), random(SECRET_BYTES)
    write_secret(folder / "seal.key", encode_key(CLOUD_SEAL, seal).encode())
    write_secret(folder / "sign.key", encode_key(CLOUD_SIGN, sign).encode())
    write_secret(folder / "pseudonym.key", random(SECRET_BYTES).hex().encode())
    write_secret(folder / LOG_FILE, encode_key(LOG_SIGN, random(SECRET_BYTES)).encode())
    public = KeySet(
        1,
        (PublicKey.of(parse_box_key(encode_key(CLOUD_SEAL, seal), CLOUD_SEAL).public),),
        (PublicKey.of(parse_signing_key(encode_key(CLOUD_SIGN, sign), CLOUD_SIGN).public),),
    )
    path = folder / PUBLIC_FILE
    _write(path, public.encode(), 0o644)
    _sync_folder(folder)
    return path


def add_log_key(folder: Path, random: Callable[[int], bytes]) -> bool:
    """Make the log's key in a folder of keys from before there was one, and touch no other; whether that was to be
    done.
    """
    path = folder / LOG_FILE
    if path.exists() or not (folder / PUBLIC_FILE).exists():
        return False
    write_secret(path, encode_key(LOG_SIGN, random(SECRET_BYTES)).encode())
    return True


def read(folder: Path) -> KeyFolder:
    """The keys in ``folder``; ConfigError says which file is missing, damaged or readable by others."""
    if not (folder / PUBLIC_FILE).exists():
        raise ConfigError(
            "keys_missing", f"keys.folder: {folder} has no keys: make them with  carnet-cloud keygen {folder}"
        )
    seal = parse_box_key(read_secret(folder / "seal.key").decode(), CLOUD_SEAL)
    sign = parse_signing_key(read_secret(folder / "sign.key").decode(), CLOUD_SIGN)
    public = KeySet.parse(_bytes(folder / PUBLIC_FILE))
    if public.sealing_key.public != seal.public or sign.kid not in public.signing_keys:
        raise ConfigError("keys_differ", f"{folder / PUBLIC_FILE} belongs to other keys")
    if not (folder / LOG_FILE).exists():
        raise ConfigError("log_key", f"{folder} lacks the log's key: carnet-cloud keygen {folder} adds it")
    log = parse_signing_key(read_secret(folder / LOG_FILE).decode(), LOG_SIGN)
    pseudonym = bytes.fromhex(read_secret(folder / "pseudonym.key").decode())
    return KeyFolder(CloudKeys({seal.kid: seal}, sign, public), log, pseudonym)


def write_secret(path: Path, data: bytes) -> None:
    """A new file, readable by its owner alone, on disk when it returns."""
    _write(path, data, 0o600)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Units are paired with these keys from now on: a power cut may not take a name away."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_secret(path: Path, setting: str = "") -> bytes:
    """The bytes of a secret file; ConfigError if it is missing or others may read it. ``setting`` names it."""
    data = _bytes(path, setting)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("secret_permissions", f"{path} is readable by others: chmod 600 {path}")
    return data


def _bytes(path: Path, setting: str = "") -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        named = f"{setting}: " if setting else ""
        raise ConfigError("file_missing", f"{named}{path} cannot be read: {e.strerror}") from e
