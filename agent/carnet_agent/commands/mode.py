"""``carnet-agent mode``: what the driver allows, shown or set, whoever owns the car and whatever was granted."""

from __future__ import annotations

import argparse
from pathlib import Path

from carnet.narrowing import Mode
from carnet_agent import compiled
from carnet_agent.commands import CONFIG_DEFAULT
from carnet_agent.local import ask

EXAMPLE = "example: carnet-agent mode no_location"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "mode",
        help="show or set the driver's mode: normal, no_location, guest or off",
        description="Show what the driver allows or, with MODE, tell the running agent. A mode only takes away: "
        "no_location stops positions; guest stops positions, identity, unmapped signals and whatever is more than of "
        "low sensitivity; off stops everything. It needs no account and no network and stays until it is changed.",
        epilog=EXAMPLE,
    )
    parser.add_argument("mode", nargs="?", choices=[str(mode) for mode in Mode], help="default: show the present one")
    parser.add_argument("--config", type=Path, default=CONFIG_DEFAULT, metavar="FILE", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show or set the mode; returns the exit code. Raises carnet.errors.Error."""
    state = compiled.load(arguments.config).settings.unit.state
    request = {"do": "status"} if arguments.mode is None else {"do": "mode", "mode": arguments.mode}
    print(f"mode: {ask(state, request)['mode']}")
    return 0
