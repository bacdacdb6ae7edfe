"""Our programs, as words that start them: what the simulator needs of agent and cloud it gets by their commands."""

from __future__ import annotations

import sys
from typing import Final

AGENT: Final = "carnet_agent"
CLOUD: Final = "carnet_cloud"
SIMULATOR: Final = "carnet_simulator"
OWNER: Final = "carnet.cli"


def command(module: str, *words: str) -> list[str]:
    """The words that start one of our programs in this very environment."""
    return [sys.executable, "-m", module, *words]
