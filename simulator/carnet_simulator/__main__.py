"""``carnet-sim``: a car, a capture or a broker for trying Carnet.

Exit codes: 0 done, 1 something failed, 2 wrong use.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Final

from carnet import VERSION
from carnet.commandline import Parser
from carnet.programs import finish

COMMANDS: Final = {
    "drive": ("carnet_simulator.commands.drive", "put a simulated car on virtual CAN buses"),
    "replay": ("carnet_simulator.commands.replay", "put a capture on virtual CAN buses"),
    "broker": ("carnet_simulator.commands.broker", "run an MQTT 5 broker on this machine's loopback"),
    "demo": ("carnet_simulator.demo", "show the whole way from a car to two recipients"),
}
"""Name -> (module with ``add_parser``, one line of help). Only the module of the command in use is imported."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return finish("carnet-sim", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(
        prog="carnet-sim",
        description="Cars and captures on virtual buses, and a broker, for trying Carnet without hardware.",
        epilog="example: carnet-sim drive --seed 1 --seconds 60",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (module, help_line) in COMMANDS.items():
        if words[:1] == [name]:
            importlib.import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=help_line)
    arguments = parser.parse_args(words)
    # A service manager's stop ends a drive as cleanly as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        # before there was anything of which a command could say how far it came
        print(f"{parser.prog}: stopped", file=sys.stderr)
        return 0


if __name__ == "__main__":
    sys.exit(main())
