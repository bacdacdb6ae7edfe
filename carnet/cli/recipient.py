"""``carnet recipient`` and its commands: keygen, open. For whoever gets readings that are sealed to its own key.

Law: the key never leaves this machine, and what disagrees with its declaration is refused, not shown.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from carnet import jws
from carnet.cli import keyfile, show
from carnet.errors import ConfigError, RemoteError
from carnet.keys import RECIPIENT_SEAL, SEED_BYTES, BoxKey, encode_key, parse_box_key
from carnet.sealedevents import Opener

KEYGEN_EXAMPLE = "example: carnet recipient keygen --out recipient.key"
OPEN_EXAMPLE = "example: carnet recipient open --key recipient.key events.jsonl > readings.jsonl"
EVENT_BYTES_MAX = 1 << 26
STANDARD_INPUT = "-"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``recipient`` with its commands."""
    recipient = subparsers.add_parser(
        "recipient",
        help="open what is sealed to your key",
        description="Make a key that readings can be sealed to, and open them.",
        epilog=OPEN_EXAMPLE,
    )
    commands = recipient.add_subparsers(metavar="COMMAND", required=True)
    keygen = commands.add_parser(
        "keygen",
        help="make your key",
        description="Make a key, and print what to write into an offer, so that cars seal its readings to this key.",
        epilog=KEYGEN_EXAMPLE,
    )
    keygen.add_argument("--out", type=Path, required=True, metavar="FILE", help="new file for the secret key")
    keygen.set_defaults(run=_keygen)
    opened = commands.add_parser(
        "open",
        help="open events",
        description="Open events, one on each line, and print them as they would have come unsealed. An event that is "
        "not sealed is printed as it is. What does not agree with its declaration, or was not sealed to your key, is "
        "refused on the error output, and the others go on.",
        epilog=OPEN_EXAMPLE,
    )
    opened.add_argument("files", nargs="+", metavar="FILE", help="events as JSON Lines; - is the standard input")
    opened.add_argument(
        "--key", type=Path, action="append", required=True, metavar="FILE", help="your key; again for an older one"
    )
    opened.set_defaults(run=_open)


def _keygen(arguments: argparse.Namespace) -> int:
    text = encode_key(RECIPIENT_SEAL, os.urandom(SEED_BYTES))
    keyfile.write(arguments.out, text)
    key = parse_box_key(text, RECIPIENT_SEAL)
    print(f"{arguments.out} is the only thing that opens what is sealed to it: keep a copy. Into the offer:")
    print(f'"sealed_to": {show.as_line({"key": jws.base64url(key.public), "kid": key.kid.hex()})}')
    return 0


def _open(arguments: argparse.Namespace) -> int:
    opener = Opener(tuple(_key(file) for file in arguments.key))
    refused = 0
    with ExitStack() as stack:
        streams = [(name, stack.enter_context(_stream(name))) for name in arguments.files]
        for name, stream in streams:
            for number, line in enumerate(_lines(stream), 1):
                try:
                    sys.stdout.buffer.write(opener.open(line) + b"\n")
                except RemoteError as error:
                    refused += 1
                    print(f"carnet: {name}, line {number}: {error} ({error.reason})", file=sys.stderr)
    sys.stdout.flush()
    return 1 if refused else 0


def _key(file: Path) -> BoxKey:
    try:
        return keyfile.read(file, "carnet recipient keygen", lambda text: parse_box_key(text, RECIPIENT_SEAL))
    except ConfigError as error:
        if error.reason != "key_file":
            raise
        raise ConfigError(error.reason, f"{error}; --key takes the key, and FILE the events") from error


def _stream(name: str) -> BinaryIO:
    try:
        return os.fdopen(os.dup(0), "rb") if name == STANDARD_INPUT else Path(name).open("rb")
    except OSError as e:
        raise ConfigError("event_file", f"{name} cannot be read: {e.strerror}") from e


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines with something on them; one that is too long is cut, and then no event."""
    while line := stream.readline(EVENT_BYTES_MAX):
        if line.strip():
            yield line.strip()
