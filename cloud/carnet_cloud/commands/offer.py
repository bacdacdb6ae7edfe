"""``carnet-cloud offer``: publish what a recipient asks for."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from carnet_cloud.commands import add_config

EXAMPLE = "example: carnet-cloud offer repair-shop.json --config cloud.toml"
NAME_MAX = 64
DIGITS_MAX = 20
FILE_BYTES_MAX = 1 << 20
"""Of a file with white space; an offer in its canonical form has at most 65,536 bytes."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "offer",
        help="publish what a recipient asks for",
        description="Publish an offer (docs/consent.md) through the running service. The file is JSON in any spelling; "
        "v, type, id, created_ms and replay_ms may be left out. Prints the offer's id. An offer never changes: without "
        "an id in the file every call publishes another one.",
        epilog=EXAMPLE,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the offer")
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Complete, check, publish."""
    from carnet.shapes import Kind
    from carnet_cloud.config import load
    from carnet_cloud.running import operator

    config = load(arguments.config)
    data = _canonical(arguments.file)
    print(f"published {operator.post(config, '/v1/offers', data, {'id': Kind.TEXT})['id']}")
    return 0


def _canonical(file: Path) -> bytes:
    """The bytes that the owner will sign the hash of; ConfigError if the file is no offer."""
    from carnet import canonical
    from carnet.errors import ConfigError, Error
    from carnet.offers import parse_offer

    try:
        with file.open("rb") as opened:
            text = opened.read(FILE_BYTES_MAX + 1)
    except OSError as e:
        raise ConfigError("file_missing", f"{file} cannot be read: {e.strerror}") from e
    try:
        document = _parsed(text)
        if not isinstance(document, dict):
            raise ConfigError("offer_file", "write one JSON object")
        data = canonical.encode(_completed(document))
        parse_offer(data)
    except Error as e:
        raise ConfigError(e.reason, f"{file} is not an offer (docs/consent.md): {e}") from e
    return data


def _parsed(text: bytes) -> object:
    """JSON in any spelling, as long as it says one thing; ConfigError if it does not."""
    from carnet.errors import ConfigError

    if len(text) > FILE_BYTES_MAX:
        raise ConfigError("json_size", f"the file has more than {FILE_BYTES_MAX} bytes")
    try:
        document: object = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
        _require_integers(document, "")
    except RecursionError as e:
        raise ConfigError("json_malformed", "the file is not JSON of at most 16 levels") from e
    except ValueError as e:
        raise ConfigError("json_malformed", f"the file is not JSON: {e}") from e
    return document


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """What stands twice would be taken once, and the reader of the file would not know which."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the member {name[:NAME_MAX]!a} stands twice in one object")
        found[name] = value
    return found


def _integer(text: str) -> int:
    # the length first: converting a million digits takes seconds
    if len(text) > DIGITS_MAX:
        raise ValueError("a number has too many digits")
    return int(text)


def _require_integers(value: object, place: str) -> None:
    """ConfigError that says where a number is none that canonical JSON has."""
    from carnet.errors import ConfigError
    from carnet.limits import NUMBER_MAX

    if isinstance(value, float) or (isinstance(value, int) and abs(value) > NUMBER_MAX):
        raise ConfigError("json_number", f"{place or 'the document'}: is not a whole number below 2^53")
    inside = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for step, each in inside:
        way = f"[{step}]" if isinstance(step, int) else f".{ascii(step[:NAME_MAX])[1:-1]}"
        _require_integers(each, f"{place}{way}".removeprefix("."))


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """With what every offer has and nobody needs to write."""
    from carnet import ids
    from carnet.offers import SEALED_VERSION

    now_ms = time.time_ns() // 1_000_000
    known = {"v": SEALED_VERSION if "sealed_to" in document else 1, "type": "offer", "replay_ms": 0}
    return known | {"id": ids.new_id(ids.OFFER, os.urandom), "created_ms": now_ms} | document
