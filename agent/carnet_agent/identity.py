"""Who this unit is: its device id, its keys, the owner's pinned keys and the cloud's, in one folder.

Law: a secret file is readable by its owner alone, or it is not used. The folder is written whole by `pairing`; of what
is in it only the owner's file is ever exchanged (`recovery`).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from carnet.errors import ConfigError, Error
from carnet.ids import device_bytes
from carnet.keys import DEVICE_RECEIVE, DEVICE_SIGN, BoxKey, SigningKey, parse_box_key, parse_signing_key
from carnet.keyset import KeySet
from carnet.ownerkeys import OwnerKeys, parse_owner

FOLDER = "identity"
DEVICE_FILE = "device"
SIGN_FILE = "sign.key"
RECEIVE_FILE = "receive.key"
OWNER_FILE = "owner.json"
CLOUD_FILE = "cloud.public.json"
SECRET_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Identity:
    """A paired unit. ``device`` is 16 bytes; ``owner`` names vehicle and epoch; ``cloud`` is as it was at pairing."""

    device: bytes
    sign: SigningKey
    receive: BoxKey
    owner: OwnerKeys
    cloud: KeySet


def read_identity(state: Path) -> Identity:
    """The identity in a state folder; ConfigError says what is missing, damaged or readable by others."""
    folder = state / FOLDER
    if not folder.is_dir():
        raise ConfigError("not_paired", f"this unit is not paired: there is no {folder}; run carnet-agent pair")
    try:
        return Identity(
            device=device_bytes(read_bytes(folder / DEVICE_FILE).decode("ascii").strip()),
            sign=parse_signing_key(read_secret(folder / SIGN_FILE).decode("ascii"), DEVICE_SIGN),
            receive=parse_box_key(read_secret(folder / RECEIVE_FILE).decode("ascii"), DEVICE_RECEIVE),
            owner=parse_owner(read_bytes(folder / OWNER_FILE)),
            cloud=KeySet.parse(read_bytes(folder / CLOUD_FILE)),
        )
    except ConfigError:
        raise
    except (Error, UnicodeDecodeError) as error:
        raise ConfigError("identity_damaged", f"{folder} is damaged: {error}; pair the unit again") from error


def read_secret(path: Path) -> bytes:
    """The bytes of a secret file; ConfigError if it is missing or others may read it."""
    data = read_bytes(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("secret_permissions", f"{path} is readable by others: chmod 600 {path}")
    return data


def read_bytes(path: Path) -> bytes:
    """The bytes of a small file; ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError("file_missing", f"{path} cannot be read: {error.strerror}") from error
    if len(data) > SECRET_BYTES_MAX:
        raise ConfigError("file_too_large", f"{path} is larger than {SECRET_BYTES_MAX} bytes")
    return data


def write_durably(path: Path, data: bytes, mode: int) -> None:
    """A new file, on the disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make renames in this folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
