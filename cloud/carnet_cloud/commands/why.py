"""``carnet-cloud why``: which of all that has to agree stands between a path and its recipients."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

EXAMPLE = "example: carnet-cloud why Vehicle.Speed --config cloud.toml"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("why", help="why a path is or is not forwarded", epilog=EXAMPLE)
    parser.add_argument("path", help="a path, e.g. Vehicle.Speed")
    parser.add_argument("--vehicle", default="", help="only this vehicle (26 characters)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--config", type=Path, default=Path("/etc/carnet/cloud.toml"), help="cloud.toml")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one line per record: verdict, what was confirmed, what was blocked and why."""
    answers = _answers(arguments)
    if arguments.json:
        print(json.dumps({"answers": answers}))
        return 0
    if not answers:
        print(f"{arguments.path}: nobody was ever given anything here, so it goes to nobody")
    for answer in answers:
        blocked = ", ".join(f"{count} {reason}" for reason, count in sorted(answer["blocked"].items())) or "none"
        print(
            f"{answer['vehicle']}  {answer['record']}  {answer['recipient']}  {answer['verdict']:12}"
            f" confirmed {answer['confirmed']}, blocked {blocked}"
        )
    return 0


def _answers(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """From the running service if there is one, else from its store."""
    from carnet.errors import UnavailableError
    from carnet.ids import device_bytes, device_text
    from carnet.signals import check_path
    from carnet_cloud import operator
    from carnet_cloud.catalogue import Catalogue, read_entries
    from carnet_cloud.config import load
    from carnet_cloud.grantbook import GrantBook
    from carnet_cloud.store import Store
    from carnet_cloud.why import why

    config, path, now_ms = load(arguments.config), check_path(arguments.path), time.time_ns() // 1_000_000
    try:
        store = Store.open(config.store.path, incarnation=os.urandom(16), now_ms=now_ms)
    except UnavailableError:
        answers: list[dict[str, Any]] = operator.get(config, f"/v1/why?path={path}&vehicle={arguments.vehicle}")[
            "answers"
        ]
        return answers
    catalogue = Catalogue(e for file in config.catalogue.mappings for e in read_entries(file.read_bytes(), str(file)))
    book = GrantBook([recipient.id for recipient in config.recipient])
    with store.transaction() as t:
        vehicles = [device_bytes(arguments.vehicle)] if arguments.vehicle else t.devices.vehicles()
        found = [(name, answer) for name in vehicles for answer in why(t, book, catalogue, name, path, now_ms)]
    store.close()
    return [{**asdict(answer), "vehicle": device_text(name)} for name, answer in found]
