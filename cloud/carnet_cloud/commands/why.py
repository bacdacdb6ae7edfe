"""``carnet-cloud why``: which of all that has to agree kept a path from a recipient."""

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
    parser = subparsers.add_parser("why", help="why a path was not forwarded", epilog=EXAMPLE)
    parser.add_argument("path", nargs="?", default="", help="path, or the beginning of one; nothing: all of them")
    parser.add_argument("--vehicle", default="", help="only this vehicle (26 characters)")
    parser.add_argument("--record", default="", help="only this record")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--config", type=Path, default=Path("/etc/carnet/cloud.toml"), help="cloud.toml")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one line per record, path and reason."""
    rows = [
        row
        for row in _rows(arguments)
        if row["path"].startswith(arguments.path) and (not arguments.record or row["record"] == arguments.record)
    ]
    if arguments.json:
        print(json.dumps({"blocks": rows}))
    elif not rows:
        print("nothing was blocked here; what the car never sent is told by `carnet-agent status` in the car")
    else:
        for row in rows:
            print(f"{row['record']}  {row['reason']:12} {row['samples']:>8}  {row['path']}")
    return 0


def _rows(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from carnet.errors import UnavailableError
    from carnet.ids import device_bytes
    from carnet_cloud import operator
    from carnet_cloud.config import load
    from carnet_cloud.store import Store

    config = load(arguments.config)
    try:
        store = Store.open(config.store.path, incarnation=os.urandom(16), now_ms=time.time_ns() // 1_000_000)
    except UnavailableError:
        rows: list[dict[str, Any]] = operator.get(config, f"/v1/why?vehicle={arguments.vehicle}")["blocks"]
        return rows
    with store.transaction() as t:
        found = t.blocks.of(device_bytes(arguments.vehicle)) if arguments.vehicle else [b for _, b in t.blocks.all()]
    store.close()
    return [asdict(block) for block in found]
