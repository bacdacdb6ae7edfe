"""``carnet-agent ledger``: what this unit has sealed for whom, by day; in the car, without cloud or account."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from carnet_agent import compiled
from carnet_agent.commands import CONFIG_DEFAULT
from carnet_agent.local import ask

EXAMPLE = "example: carnet-agent ledger --json"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "ledger",
        help="say what was sealed for whom, by day",
        description="Ask the running agent how much it has sealed under which record on each day (UTC) of the last 90. "
        "A box of several records counts for each. No reading is shown: the unit itself cannot read what it sealed.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--config", type=Path, default=CONFIG_DEFAULT, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of lines")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it; returns the exit code. Raises carnet.errors.Error."""
    sealed = ask(compiled.load(arguments.config).settings.unit.state, {"do": "ledger"})["sealed"]
    if arguments.json:
        print(json.dumps(sealed, indent=2))
    for each in [] if arguments.json else sealed:
        day = each["day"] or "day unknown"
        print(f"{day:11} {each['record']} {each['boxes']:>7} boxes {each['samples']:>9} samples")
    return 0
