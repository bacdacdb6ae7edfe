"""The owner's key on disk: ``owner.key`` (0600) and ``owner.public.json``, which a unit is paired with."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from carnet import canonical, jws
from carnet.errors import ConfigError
from carnet.keys import OWNER_SIGN, SEED_BYTES, SigningKey, encode_key, parse_signing_key

SECRET_FILE = "owner.key"  # noqa: S105 - the name of a file
PUBLIC_FILE = "owner.public.json"
MISSING = "this needs your key: type  export CARNET_KEY=FOLDER  first, or --key FOLDER; `carnet owner keygen` made it"


def make(folder: Path, random: Callable[[int], bytes]) -> Path:
    """A new key in ``folder``; the path of its public half.
    ConfigError if there is one: a lost key ends every consent.
    """
    secret = folder / SECRET_FILE
    text = encode_key(OWNER_SIGN, random(SEED_BYTES))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        if isinstance(e, FileExistsError) and folder.is_dir():
            raise ConfigError("key_exists", f"{secret} exists: keys are never overwritten, name another folder") from e
        raise ConfigError("folder_unwritable", f"{folder} cannot be made or written: {e.strerror}") from e
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    public = folder / PUBLIC_FILE
    public.write_bytes(canonical.encode(jws.jwk(parse_signing_key(text, OWNER_SIGN).public)))
    return public


def file_of(path: Path) -> Path:
    """The key's file: ``path`` itself, or in a folder its ``owner.key``."""
    return path / SECRET_FILE if path.is_dir() else path


def read(path: Path) -> SigningKey:
    """The key in a file or in a folder's ``owner.key``; ConfigError if it is missing, damaged or readable by others."""
    file = file_of(path)
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError("key_missing", f"{file} cannot be read: make a key with  carnet owner keygen") from e
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("key_permissions", f"{file} is readable by others: chmod 600 {file}")
    return parse_signing_key(text, OWNER_SIGN)
