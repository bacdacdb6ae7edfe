"""``carnet-cloud backup``: a copy of the store, while the service runs or without it."""

from __future__ import annotations

import argparse
import os
import time
from contextlib import closing
from pathlib import Path

from carnet_cloud.commands import add_config

EXAMPLE = "example: carnet-cloud backup /srv/backups/carnet-monday.db --config cloud.toml"
TIMEOUT_S = 3600
"""A copy takes as long as the disk needs for it."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "backup",
        help="copy the store into a new file",
        description="Copy the store into a new file; a running service makes the copy and goes on meanwhile. The "
        "journal of narrowings and the wrapping keys are not in it and must never be restored; the cloud's own keys "
        "have a copy of their own. The file holds consents and sealed readings: keep it as the store itself. A store "
        "on PostgreSQL is copied by pg_dump instead.",
        epilog=EXAMPLE,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what is made; it must not exist")
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Copy, look whether the copy is sound, say what it holds."""
    from carnet.errors import ConfigError, UnavailableError
    from carnet.shapes import Kind
    from carnet_cloud.config import load
    from carnet_cloud.running import backup, operator
    from carnet_cloud.store import SqliteStore

    config, file = load(arguments.config), arguments.file
    if file.exists():
        raise ConfigError("file_exists", f"{file} exists: a backup overwrites nothing, name a new file")
    if not file.absolute().parent.is_dir():
        make = f"sudo install -d -m 700 {file.parent}"
        raise ConfigError("folder_missing", f"there is no folder {file.parent}: make it with  {make}")
    path = backup.file_of(config.store)
    if not path.is_file():
        raise ConfigError("store_missing", f"{path} does not exist: there is nothing to copy")
    try:
        store = SqliteStore.open(path, incarnation=os.urandom(16), now_ms=time.time_ns() // 1_000_000)
    except UnavailableError:
        operator.post(config, "/v1/backups", b"", {"size_bytes": Kind.NUMBER}, TIMEOUT_S)
        backup.take(path, file)
    else:
        with closing(store):
            backup.copy(store, file)
    version = backup.check(file)
    print(f"{file}: {file.stat().st_size} bytes, a whole store of version {version}")
    return 0
