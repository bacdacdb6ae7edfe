"""``carnet-agent``: the command line of the unit. Exit codes: 0 done, 1 an input or the system failed, 2 wrong use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from carnet import VERSION
from carnet.commandline import Parser
from carnet.programs import finish

# name: (module with add_parser, one line of help). Only the module of the command in use is imported: start is quick.
COMMANDS: dict[str, tuple[str, str]] = {
    "ceiling": ("carnet_agent.commands.ceiling", "show or lower what this car ever gives"),
    "check": ("carnet_agent.commands.check", "say whether configuration, keys and broker are in order"),
    "decode": ("carnet_agent.commands.decode", "write the readings of a capture as a table"),
    "frames": ("carnet_agent.commands.frames", "write the frames of a capture as a candump log"),
    "ledger": ("carnet_agent.commands.ledger", "say what was sealed for whom, by day"),
    "mode": ("carnet_agent.commands.mode", "show or set the driver's mode: normal, no_location, guest or off"),
    "pair": ("carnet_agent.commands.pair", "give the unit its identity, pin owner and cloud"),
    "recover": ("carnet_agent.commands.recover", "pin another key of the same owner, who has lost his"),
    "run": ("carnet_agent.commands.run", "collect what was granted and send it"),
    "status": ("carnet_agent.commands.status", "say what the agent is doing"),
}
EXAMPLE = "example: carnet-agent decode drive.log.gz --dbc car.dbc"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return finish("carnet-agent", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog="carnet-agent", description="The part of Carnet that runs in the car.", epilog=EXAMPLE)
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (module, help_line) in COMMANDS.items():
        if words[:1] == [name]:
            importlib.import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=help_line)
    arguments = parser.parse_args(words)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
