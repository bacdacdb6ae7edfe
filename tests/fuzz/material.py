"""What targets are made of: the committed vectors, and keys that everybody knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from carnet import canonical
from carnet.errors import Error

VECTORS = Path(__file__).parents[1] / "vectors"


def vectors(name: str) -> Any:
    """A file of vectors."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def refused(call: Callable[[], object]) -> bool:
    """Whether it raises an error of ours."""
    try:
        call()
    except Error:
        return True
    return False


def canonicalised(data: bytes) -> bytes:
    """JSON in any spelling in its canonical one, so that a mutation gets past the first check; else unchanged."""
    try:
        return canonical.encode(json.loads(data))
    except (ValueError, RecursionError, Error):
        return data
