"""``carnet-agent status``: what the agent is doing; without one, what waits in its buffer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carnet.errors import UnavailableError
from carnet_agent import compiled
from carnet_agent.commands import CONFIG_DEFAULT
from carnet_agent.local import ask
from carnet_agent.readiness import missing
from carnet_agent.statefolder import BUFFER_FILE

EXAMPLE = "example: carnet-agent status --json"
NOT_RUNNING = 1
STDOUT = "-"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "status",
        help="say what the agent is doing",
        description="Ask the running agent what it does. Without a running agent: what waits in its buffer, and exit "
        "code 1. With --prometheus the numbers alone, for the node exporter's textfile collector. With --ready exit "
        "code 1, and the names of what is missing, unless buses, broker and cloud are all there.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--config", type=Path, default=CONFIG_DEFAULT, metavar="FILE", help="default: %(default)s")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    form.add_argument("--ready", action="store_true", help="whether it can do its work now, and what is missing")
    form.add_argument(
        "--prometheus", nargs="?", const=STDOUT, metavar="FILE",
        help="numbers in Prometheus' text format; into FILE, which is replaced as a whole",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the facts; returns the exit code. Raises carnet.errors.Error."""
    state = compiled.load(arguments.config).settings.unit.state
    try:
        facts = ask(state, {"do": "status"})
    except UnavailableError as error:
        if error.reason != "agent_not_running":
            raise
        facts = {"running": False, "buffer": buffer_facts(state / BUFFER_FILE)}
    if arguments.ready:
        return _ready(facts)
    if arguments.prometheus is not None:
        _expose(facts, arguments.prometheus)
    else:
        print(json.dumps(facts, indent=2) if arguments.json else "\n".join([*_lines(facts), *_held_back(facts)]))
    return 0 if facts["running"] else NOT_RUNNING


def _ready(facts: dict[str, Any]) -> int:
    lacks = missing(facts)
    print(f"not ready: {', '.join(lacks)}" if lacks else "ready")
    return NOT_RUNNING if lacks else 0


def _expose(facts: dict[str, Any], file: str) -> None:
    # imported here: the library takes longer to load than the agent to answer
    from carnet_agent.exposition import Exposition
    from carnet_agent.instant import boottime_ns
    from carnet_agent.metrics import numbers

    made = Exposition(numbers(facts, boottime_ns() // 1_000_000))
    if file == STDOUT:
        print(made.text(), end="")
    else:
        made.write(Path(file))


def buffer_facts(path: Path) -> dict[str, int] | None:
    """What lies in the buffer of an agent that is not running; None if there is no buffer. Nothing is changed."""
    if not path.is_file():
        return None
    import sqlite3

    import sqlite_utils

    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)
        database = sqlite_utils.Database(connection)
        facts = next(
            database.query(
                "select count(*) as rows_waiting, coalesce(sum(samples), 0) as samples_waiting, "
                "coalesce(sum(length(envelope)), 0) as bytes_waiting from row where acked = 0"
            )
        )
        connection.close()
    except sqlite3.Error as error:
        raise UnavailableError("buffer_unreadable", f"{path} cannot be read: {error}") from error
    return {name: int(value) for name, value in facts.items()}


def _lines(facts: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A line for each fact, groups indented."""
    for name, value in facts.items():
        label = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            yield f"{label}:" + ("" if value else " none")
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{label}: {', '.join(map(_short, value)) or 'none'}"
        else:
            yield f"{label}: {_short(value)}"


def _held_back(facts: dict[str, Any]) -> Iterator[str]:
    """Consents are in force whatever the driver says; what he keeps in the car goes to nobody all the same."""
    if facts.get("mode") == "off":
        yield "mode off lets nothing through: nothing is collected or sent, whatever is in force"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={_short(each)}" for name, each in value.items())
    words = {True: "yes", False: "no", None: "none"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
