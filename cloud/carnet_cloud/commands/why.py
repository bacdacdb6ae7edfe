"""``carnet-cloud why``: which of all that has to agree stands between a path and its recipients."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from carnet.commandline import having_form
from carnet.ids import device_bytes
from carnet.signals import check_path
from carnet_cloud.commands import add_config

if TYPE_CHECKING:
    from carnet_cloud.config import CloudConfig

EXAMPLE = "example: carnet-cloud why Vehicle.Speed --config cloud.toml"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "why",
        help="why a path is or is not forwarded",
        description="Say for every record, from its documents and never from a value, what stands between a path and "
        "its recipient now, how many of its samples the recipient has confirmed and how many were blocked.",
        epilog=EXAMPLE,
    )
    parser.add_argument("path", type=having_form(check_path), metavar="PATH", help="a path, e.g. Vehicle.Speed")
    parser.add_argument(
        "--vehicle", type=having_form(device_bytes), metavar="ID", help="only this vehicle (26 characters)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print per record the verdict with its sentence, what was confirmed, what was blocked and why."""
    answers = _answers(arguments)
    if arguments.json:
        print(json.dumps({"answers": answers}))
        return 0
    if hint := _misspelt(arguments):
        print(hint)
    if not answers:
        print(f"{arguments.path}: nobody was ever given anything here, so it goes to nobody")
    for answer in answers:
        print("\n".join(_lines(answer)))
    return 0


def _misspelt(arguments: argparse.Namespace) -> str:
    """What is said of a path that no mapping file has; empty for one that is known."""
    from carnet_cloud.config import load, read_catalogue

    catalogue = read_catalogue(load(arguments.config).catalogue)
    if arguments.path in catalogue:
        return ""
    like = catalogue.like(arguments.path)
    return f"no mapping file of [catalogue] has {arguments.path}" + (f"; is {like} meant?" if like else "")


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    from carnet_cloud.why import SENTENCES

    blocked = ", ".join(f"{count} ({reason})" for reason, count in sorted(answer["blocked"].items())) or "none"
    yield f"{answer['vehicle']}  {answer['record']}  {answer['recipient']}  {answer['verdict']}"
    sentence = SENTENCES.get(answer["verdict"], "a word of another version of Carnet")
    yield f"  {sentence}; samples confirmed: {answer['confirmed']}, blocked: {blocked}"


def _answers(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """From the running service if there is one, else from its store."""
    from carnet.errors import UnavailableError
    from carnet.ids import device_text
    from carnet_cloud.config import load, read_catalogue
    from carnet_cloud.grantbook import GrantBook
    from carnet_cloud.running.opening import open_alone
    from carnet_cloud.why import vehicles_of, why

    config, path, now_ms = load(arguments.config), arguments.path, time.time_ns() // 1_000_000
    try:
        store = open_alone(config.store, os.urandom(16), now_ms)
    except UnavailableError:
        return _asked(config, f"/v1/why?path={path}&vehicle={arguments.vehicle or ''}")
    catalogue = read_catalogue(config.catalogue)
    book = GrantBook([recipient.id for recipient in config.recipient])
    with closing(store), store.transaction() as t:
        vehicles = vehicles_of(t, arguments.vehicle or "")
        found = [(name, answer) for name in vehicles for answer in why(t, book, catalogue, name, path, now_ms)]
    return [{**asdict(answer), "vehicle": device_text(name)} for name, answer in found]


def _asked(config: CloudConfig, path: str) -> list[dict[str, Any]]:
    from carnet.shapes import Every, Kind, Shape
    from carnet_cloud.running import operator

    answer: dict[str, Shape] = {"confirmed": Kind.NUMBER, "blocked": Every(Kind.NUMBER)}
    answer |= dict.fromkeys(("vehicle", "record", "recipient", "verdict"), Kind.TEXT)
    answers: list[dict[str, Any]] = operator.get(config, path, {"answers": [answer]})["answers"]
    return answers
