"""``carnet-agent ceiling``: what this car ever gives, shown or lowered, whoever owns it and whatever was granted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from carnet.errors import ConfigError
from carnet.signals import Category, Sensitivity
from carnet_agent import compiled
from carnet_agent.commands import CONFIG_DEFAULT
from carnet_agent.local import ask

EXAMPLE = "example: carnet-agent ceiling --categories energy maintenance --interval energy=60000"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "ceiling",
        help="show or lower what this car ever gives",
        description="Show what this car ever gives, whoever asks, or tell the running agent to give less. It is set in "
        "the car only, takes effect before the command returns and stays until it is changed; what is not named is as "
        "in the configuration, above which nothing gets.",
        epilog=EXAMPLE,
    )
    names = [str(each) for each in Category]
    parser.add_argument(
        "--categories", nargs="*", choices=names, metavar="NAME", help=f"only these, or none: {', '.join(names)}"
    )
    parser.add_argument("--sensitivity", choices=[str(each) for each in Sensitivity], help="the most private there is")
    parser.add_argument(
        "--interval", nargs="+", default=[], metavar="NAME=MS", help="least time between two samples of a category"
    )
    parser.add_argument("--reset", action="store_true", help="back to the configuration")
    parser.add_argument("--config", type=Path, default=CONFIG_DEFAULT, metavar="FILE", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show or set; returns the exit code. Raises carnet.errors.Error."""
    asked = _asked(arguments)
    state = compiled.load(arguments.config).settings.unit.state
    if asked is None and not arguments.reset:
        told = ask(state, {"do": "status"})["ceiling"]
    else:
        told = ask(state, {"do": "ceiling", "ceiling": asked})["ceiling"]
    intervals = ", ".join(f"{name} {ms} ms" for name, ms in told["interval_ms_min"].items())
    print(f"categories: {', '.join(told['categories']) or 'none'}")
    print(f"sensitivity: {told['sensitivity']}")
    print(f"least intervals: {intervals or 'none'}")
    return 0


def _asked(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The ceiling that the options describe; None if there are none."""
    named = arguments.categories is not None or arguments.sensitivity is not None or bool(arguments.interval)
    if named and arguments.reset:
        raise ConfigError("option", "--reset goes alone: it takes back what was set here")
    if not named:
        return None
    categories = list(Category) if arguments.categories is None else arguments.categories
    return {
        "categories": sorted(set(categories)),
        "sensitivity": arguments.sensitivity or Sensitivity.SPECIAL,
        "interval_ms_min": dict(_interval(text) for text in arguments.interval),
    }


def _interval(text: str) -> tuple[str, int]:
    name, _, ms = text.partition("=")
    if name not in list(Category) or not ms.isascii() or not ms.isdigit() or not 0 < len(ms) < 16 or int(ms) == 0:
        raise ConfigError("option", f"--interval: write a category and milliseconds, such as {Category.LOCATION}=60000")
    return name, int(ms)
