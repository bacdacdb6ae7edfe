"""``carnet-cloud``: the command line of those who run the receiver."""

from __future__ import annotations

import argparse
import sys

from carnet.commandline import Parser
from carnet.errors import ConfigError, Error
from carnet_cloud.commands import backup, end, enrol, keygen, offer, restore, run, why

EXAMPLE = "example: carnet-cloud keygen keys && carnet-cloud run --config cloud.toml"


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused or failed, 2 command line or configuration wrong."""
    parser: argparse.ArgumentParser = Parser(
        prog="carnet-cloud", description="The cloud part of Carnet.", epilog=EXAMPLE
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (keygen, enrol, offer, end, run, why, backup, restore):
        command.add_parser(subparsers)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except Error as error:
        print(f"carnet-cloud: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
