"""``carnet-cloud enrol``: take the file that ``carnet-agent pair`` wrote."""

from __future__ import annotations

import argparse
import os
import time
from contextlib import closing
from pathlib import Path

from carnet.commandline import having_form
from carnet.ids import TENANT, parse_id
from carnet_cloud.commands import add_config

EXAMPLE = "example: carnet-cloud enrol enrolment.json --tenant ten_aaaaaaaaaaaaaaaa --config cloud.toml"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "enrol",
        help="take a unit's enrolment file",
        description="Take the file that `carnet-agent pair` wrote: from then on the unit's signature counts, and its "
        "owner's. Prints the device id, which the unit's certificate must name. Repeating it changes nothing.",
        epilog=EXAMPLE,
    )
    parser.add_argument("file", type=Path, help="the file that `carnet-agent pair` wrote")
    parser.add_argument(
        "--tenant",
        type=having_form(lambda text: parse_id(text, TENANT)),
        required=True,
        metavar="ID",
        help="the tenant (automaker or operator) that the vehicle belongs to: ten_ and 16 characters of a-z2-7 that "
        "you choose once",
    )
    parser.add_argument(
        "--recover",
        action="store_true",
        help="the owner has lost his key and pinned another one on the unit (carnet-agent recover). You have made sure "
        "that it is he: whoever holds this key from now on decides about the consents of the car",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Through the running service if there is one, else into its store."""
    from carnet.enrolment import parse_enrolment
    from carnet.errors import ConfigError, FormatError, UnavailableError
    from carnet.shapes import Kind
    from carnet_cloud.config import load
    from carnet_cloud.enrol import enrol
    from carnet_cloud.running import operator
    from carnet_cloud.running.opening import open_alone

    config = load(arguments.config)
    try:
        data = arguments.file.read_bytes()
    except OSError as e:
        raise ConfigError("file_missing", f"{arguments.file} cannot be read: {e.strerror}") from e
    try:
        parse_enrolment(data)
    except FormatError as e:
        raise FormatError(e.reason, f"{arguments.file} is not what `carnet-agent pair` wrote: {e}") from e
    try:
        store = open_alone(config.store, os.urandom(16), time.time_ns() // 1_000_000)
    except UnavailableError:
        path = f"/v1/enrolments?tenant={arguments.tenant}" + ("&recover=true" if arguments.recover else "")
        device = operator.post(config, path, data, {"device": Kind.TEXT})["device"]
    else:
        with closing(store):
            device = enrol(store, data, arguments.tenant, time.time_ns() // 1_000_000, arguments.recover)
    print(f"enrolled device {device}")
    return 0
