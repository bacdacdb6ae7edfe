"""Packages that only benches need: there or missing, and one line that says which are missing."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_missing: list[str] = []


def rival(module: str) -> Any | None:
    """The module, or None where it is not installed; `say_missing` names it then."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        if package not in _missing:
            _missing.append(package)
        return None


def say_missing() -> None:
    """One line for all of them, and nothing if none is missing."""
    if _missing:
        print(f"without {', '.join(_missing)}, not installed here: `make bench` does that")


def versions(*packages: str) -> dict[str, str]:
    """Package -> version, of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
