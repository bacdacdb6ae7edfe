"""Shell: the command line of owners. ``carnet owner …`` talks to the cloud's consent API and holds the owner's key;
``carnet verify`` checks receipts of the log and needs neither; ``carnet recipient`` opens what is sealed to one.

Law: the key never leaves this machine; what is sent is signed here, and what is shown comes from signed bytes.
"""

from __future__ import annotations

import argparse
import sys

from carnet import VERSION
from carnet.commandline import Parser
from carnet.programs import finish

EXAMPLE = "example: carnet owner offers --cloud http://127.0.0.1:8480 --vehicle abc…"


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused or failed, 2 command line or configuration wrong."""
    return finish("carnet", lambda: _run(argv))


def _run(argv: list[str] | None) -> int:
    # they bring numpy: whoever breaks that off gets the exit code that `finish` has for it
    from carnet.cli import keys, owner, recipient, verify

    parser: argparse.ArgumentParser = Parser(
        prog="carnet", description="Carnet for the owner of a car, and for everybody who checks.", epilog=EXAMPLE
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    owner.add_parser(subparsers)
    verify.add_parser(subparsers)
    recipient.add_parser(subparsers)
    arguments = parser.parse_args(keys.tied(sys.argv[1:] if argv is None else argv))
    return int(arguments.run(arguments))
