"""The owner's key on disk: ``owner.key`` (0600) and ``owner.public.json``, which a unit is paired with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from carnet import canonical, jws
from carnet.cli import keyfile
from carnet.keys import OWNER_SIGN, SEED_BYTES, SigningKey, encode_key, parse_signing_key

SECRET_FILE = "owner.key"  # noqa: S105 - the name of a file
PUBLIC_FILE = "owner.public.json"
MISSING = "this needs your key: type  export CARNET_KEY=FOLDER  first, or --key FOLDER; `carnet owner keygen` made it"


def make(folder: Path, random: Callable[[int], bytes]) -> Path:
    """A new key in ``folder``; the path of its public half.
    ConfigError if there is one: a lost key ends every consent.
    """
    text = encode_key(OWNER_SIGN, random(SEED_BYTES))
    keyfile.write(folder / SECRET_FILE, text)
    public = folder / PUBLIC_FILE
    public.write_bytes(canonical.encode(jws.jwk(parse_signing_key(text, OWNER_SIGN).public)))
    return public


def file_of(path: Path) -> Path:
    """The key's file: ``path`` itself, or in a folder its ``owner.key``."""
    return path / SECRET_FILE if path.is_dir() else path


def read(path: Path) -> SigningKey:
    """The key in a file or in a folder's ``owner.key``; ConfigError if it is missing, damaged or readable by others."""
    return keyfile.read(file_of(path), "carnet owner keygen", lambda text: parse_signing_key(text, OWNER_SIGN))
