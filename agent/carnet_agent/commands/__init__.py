"""The subcommands of ``carnet-agent``, one module each with ``add_parser(subparsers)``, imported only when used."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CONFIG_DEFAULT: Final = Path("/etc/carnet/agent.toml")
