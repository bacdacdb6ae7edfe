"""``carnet owner keys``: which keys may sign for your car; one more of them, and one less."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from carnet import canonical, jws
from carnet.cli import ownerkey, show
from carnet.cli.cloud import Cloud
from carnet.commandline import formed
from carnet.errors import ConfigError, Error, RemoteError
from carnet.keys import SigningKey
from carnet.ownerkeys import OWNER_BYTES_MAX, OwnerKeys, parse_key, sign_addition, sign_removal

FORM = r"[A-Za-z0-9_-]{43}"
THUMBPRINT = formed(FORM, "a key's thumbprint: 43 characters, as `carnet owner keys` shows it")
REMOVE = "--remove"


def tied(words: Sequence[str]) -> list[str]:
    """A command line whose ``--remove`` holds its key: one in 64 begins with a dash, and would pass for an option."""
    found: list[str] = []
    for word in words:
        if found[-1:] == [REMOVE] and re.fullmatch(FORM, word, re.ASCII):
            found[-1] = f"{REMOVE}={word}"
        else:
            found.append(word)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be done: nothing is showing them."""
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--add", type=Path, metavar="FILE", help="the other key's owner.public.json; it may then sign")
    change.add_argument(
        REMOVE, type=THUMBPRINT, metavar="KEY", help="what it gave, resumed or renewed ends with it, for ever"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(cloud: Cloud, arguments: argparse.Namespace, now_ms: int) -> str:
    """Do it; what to print. ConfigError, RemoteError."""
    if arguments.add is None and arguments.remove is None:
        keys = cloud.keys()
        return show.as_json(keys) if arguments.json else "\n".join(map(_line, keys))
    mine = ownerkey.read(arguments.key)
    public = None if arguments.add is None else _public(arguments.add)
    keys = cloud.keys()
    here = _owner(keys, mine, arguments.vehicle)
    if public is not None:
        answer = cloud.change_key(sign_addition(here, public, now_ms, mine.secret), widens=True)
        text = f"{jws.thumbprint(public)}  added"
    else:
        public = _listed(keys, arguments.remove)
        answer = cloud.change_key(sign_removal(here, public, now_ms, mine.secret), widens=False)
        ended = ", ".join(answer["ended"]) or "no consent"
        text = f"{arguments.remove}  removed; with it ended and is silent: {ended}"
    return show.as_json(answer) if arguments.json else text


def _owner(keys: list[dict[str, Any]], mine: SigningKey, vehicle: str) -> OwnerKeys:
    """The tenure in which the key at hand is pinned. ConfigError if it is in none."""
    own = jws.thumbprint(mine.public)
    pinned = [each for each in keys if each["standing"] == "pinned" and each["thumbprint"] == own]
    if not pinned:
        raise ConfigError("key_not_pinned", "only a key that the unit was paired with adds and removes others: --key")
    return OwnerKeys(vehicle, max(each["epoch"] for each in pinned), (mine.public,))


def _public(path: Path) -> bytes:
    try:
        return parse_key(canonical.parse(path.read_bytes().strip(), OWNER_BYTES_MAX))
    except OSError as error:
        raise ConfigError("file_missing", f"{path} cannot be read: {error.strerror}") from error
    except Error as error:
        raise ConfigError("owner_key", f"{path} is not an owner's public key: {error}") from error


def _listed(keys: list[dict[str, Any]], thumbprint: str) -> bytes:
    """The key with this thumbprint; whatever the cloud shows, a thumbprint fits one key."""
    for each in keys:
        if each["thumbprint"] == thumbprint:
            public = jws.base64url_bytes(each["key"])
            if jws.thumbprint(public) == thumbprint:
                return public
    raise RemoteError("key_unknown", f"this vehicle has no key {thumbprint}: see  carnet owner keys")


def _line(each: dict[str, Any]) -> str:
    return f"{each['thumbprint']}  {each['standing']:8} epoch {each['epoch']}"
