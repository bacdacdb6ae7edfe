"""``carnet-sim demo``: a car, its agent, a broker, the cloud and two recipients on this machine, told as a story.

Law: the parts are started as processes by their commands; nothing of agent or cloud is imported, and what is said of
them is read where anybody could read it: recipients' files, the owner's tool, the documents.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from carnet_simulator.commands.speed import parse_speed

EXAMPLES: Final = """examples:
  carnet-sim demo
  carnet-sim demo --headless --seconds 30 --json
  carnet-sim demo --capture drive.log.gz --dbc can0=powertrain.dbc --speed 10

Exit codes: 0 everything held; 1 something failed: more left than was granted, the two summaries differ, or a part did
not start; 2 wrong use.
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "demo",
        help="show the whole way from a car to two recipients",
        description="Starts a car, the agent, a broker, the receiver and two recipients, shows what leaves for whom "
        "and what is refused, withdraws one consent, and adds everything up twice.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--seconds",
        type=float,
        default=45.0,
        help="how long readings flow, withdrawal included; 20 or more (default: 45)",
    )
    add("--seed", type=int, default=1, help="which car and which drive (default: 1)")
    add("--mode", choices=("normal", "no_location", "guest", "off"), default="normal", help="what the driver set")
    add("--headless", action="store_true", help="no moving picture in the terminal, only lines")
    add("--json", action="store_true", help="one JSON object on standard output, everything else on standard error")
    add("--keep", action="store_true", help="keep the folder with all keys, stores and logs also after a good end")
    add("--folder", type=Path, help="work in this new folder (default: one under the system's temporary folder)")
    add("--picture", type=Path, metavar="FILE", help="what left, as SVG (default: a new file in the temporary folder)")
    add(
        "--broker", choices=("auto", "mosquitto", "development"), default="auto", help="default: Mosquitto if installed"
    )
    add("--capture", type=Path, metavar="FILE", help="replay this capture instead of the simulated car")
    add("--dbc", nargs="+", action="extend", default=[], metavar="[BUS=]FILE", help="DBC files of the capture")
    add(
        "--mapping",
        nargs="+",
        type=Path,
        action="extend",
        default=[],
        metavar="FILE",
        help="mapping files of these DBCs",
    )
    add("--match", choices=("id", "pgn"), default="id", help="how messages of the capture are found (default: id)")
    add("--speed", type=parse_speed, default=1.0, metavar="FACTOR", help="of the capture: 1, 10, … or max (default: 1)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Tell the story; the exit code."""
    from carnet_simulator.demo.story import tell

    return tell(arguments)
