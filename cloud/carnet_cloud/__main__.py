"""``carnet-cloud``: the command line of those who run the receiver."""

from __future__ import annotations

import argparse
import sys

from carnet import VERSION
from carnet.commandline import Parser
from carnet.programs import finish

EXAMPLE = "example: carnet-cloud keygen keys && carnet-cloud run --config cloud.toml"


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused or failed, 2 command line or configuration wrong."""
    return finish("carnet-cloud", lambda: _run(argv))


def _run(argv: list[str] | None) -> int:
    from carnet_cloud.commands import backup, end, enrol, keygen, offer, restore, run, why

    parser: argparse.ArgumentParser = Parser(
        prog="carnet-cloud", description="The cloud part of Carnet.", epilog=EXAMPLE
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (keygen, enrol, offer, end, run, why, backup, restore):
        command.add_parser(subparsers)
    arguments = parser.parse_args(argv)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
