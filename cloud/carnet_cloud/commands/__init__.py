"""The commands of ``carnet-cloud``: a module each, with ``add_parser(subparsers)``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

CONFIG_DEFAULT: Final = Path("/etc/carnet/cloud.toml")


def add_config(parser: argparse.ArgumentParser) -> None:
    """The option that every command but keygen has."""
    parser.add_argument("--config", type=Path, default=CONFIG_DEFAULT, metavar="FILE", help="default: %(default)s")
