"""``carnet-cloud keygen``: the cloud's own keys."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLE = "example: carnet-cloud keygen /etc/carnet/cloud-keys"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "keygen",
        help="make the cloud's keys in a new folder",
        description="Make the keys that readings are sealed to, answers and the log are signed with and "
        "pseudonyms are made of, and cloud.public.json, which units are paired with. A folder of keys that lacks only "
        "the log's gets that one. Keep a copy of the folder off line.",
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder that does not exist, is empty, or lacks the log's key"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the keys and say which file units are paired with."""
    from carnet_cloud.running.keyfolder import add_log_key, make

    if add_log_key(arguments.folder, os.urandom):
        print(f"{arguments.folder} has a key for the log now; no other was touched")
        return 0
    public = make(arguments.folder, os.urandom)
    print(f"keys are in {arguments.folder}; pair units with {public}")
    return 0
