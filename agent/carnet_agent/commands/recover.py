"""``carnet-agent recover``: pin another key of the same owner, who has lost the one that the unit was paired with."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from carnet.errors import UnavailableError
from carnet_agent.commands import CONFIG_DEFAULT
from carnet_agent.commands.wholefile import whole_file

EXAMPLE = """example:
  carnet-agent recover --owner-key owner.public.json --out recovery.json

Then: carnet-cloud enrol recovery.json --recover --tenant ten_…
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "recover",
        help="pin another key of the same owner, who has lost his",
        description="Pin another public key of the same owner, who has lost the one that the unit was paired with. "
        "Nothing ends: buffer, consents and epoch stay as they are, and the lost key still counts. If somebody else may"
        " have it, or the car has another owner: carnet-agent pair --renew.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, default=CONFIG_DEFAULT, metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--owner-key", type=Path, required=True, metavar="FILE", help="what `carnet owner keygen` wrote as public key"
    )
    parser.add_argument("--out", type=Path, default=Path("recovery.json"), metavar="FILE", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Pin it and write the enrolment; returns the exit code. Raises carnet.errors.Error."""
    from carnet_agent import config
    from carnet_agent.consent.file import DAMAGED
    from carnet_agent.pairing import read_owner_key
    from carnet_agent.recovery import recover

    state = config.load(arguments.config).unit.state
    key = read_owner_key(arguments.owner_key)
    with whole_file(arguments.out) as file:
        try:
            enrolment, damaged = recover(state, key, os.urandom)
        except OSError as error:
            raise UnavailableError("state_unwritable", f"{state} cannot be written: {error.strerror}") from error
        file.write(enrolment)
    if damaged:
        print(f"carnet-agent: {DAMAGED}", file=sys.stderr)
    print("pinned beside the keys that the unit had; nothing else has changed")
    print(f"for the cloud: carnet-cloud enrol {arguments.out} --recover --tenant ten_…")
    return 0
