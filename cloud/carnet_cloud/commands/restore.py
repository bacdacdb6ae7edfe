"""``carnet-cloud restore``: a store from a backup."""

from __future__ import annotations

import argparse
from pathlib import Path

from carnet_cloud.commands import add_config

EXAMPLE = "example: carnet-cloud restore /srv/backups/carnet-monday.db --config cloud.toml"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "restore",
        help="make the store from a backup",
        description="Make the store from a file of `carnet-cloud backup`, once it has been found whole. The service "
        "must not run, and there must be no store yet: move the old one away. Says what the next start will do: with "
        "this store's journal it ends again what had been narrowed since, without it everything stays silent until "
        "owners have confirmed.",
        epilog=EXAMPLE,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what `carnet-cloud backup` made")
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look, copy, say what comes next."""
    from carnet_cloud.config import load
    from carnet_cloud.running import backup

    config = load(arguments.config)
    path = backup.file_of(config.store)
    backup.put(arguments.file, path)
    print(f"{path}: restored from {arguments.file}")
    if config.store.journal.exists():
        print("the next start ends again what the journal of narrowings knows to have ended since")
    else:
        print(f"no journal at {config.store.journal}: every consent stays silent until its owner has confirmed it")
    print(
        "a vehicle whose unit or owner has seen more than this store knows stays silent until its owner has confirmed"
    )
    return 0
