"""``carnet-cloud run``: receive, judge, forward, and serve the consent API."""

from __future__ import annotations

import argparse

from carnet_cloud.commands import add_config

EXAMPLE = "example: carnet-cloud run --config /etc/carnet/cloud.toml"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="receive, judge and forward",
        description="Receive what units send, judge it against the owners' consents, forward what was granted, and "
        "serve the consent API. SIGTERM and Ctrl-C end it.",
        epilog=EXAMPLE,
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    from carnet import logs
    from carnet_cloud.config import load
    from carnet_cloud.service import Service

    logs.start()
    config = load(arguments.config)
    logs.start(config.log.format)
    Service(config).run()
    return 0
