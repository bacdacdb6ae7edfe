"""``carnet-cloud end``: nobody agrees to an offer any more, or nothing of a unit is taken any more."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from carnet.commandline import having_form
from carnet.errors import FormatError
from carnet.ids import OFFER, RECORD, device_bytes, parse_id
from carnet_cloud.commands import add_config

if TYPE_CHECKING:
    from carnet_cloud.config import CloudConfig

EXAMPLE = "example: carnet-cloud end off_aaaaaaaaaaaaaaaa --config cloud.toml"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "end",
        help="end an offer, or the pairing of a unit",
        description="End an offer: no owner sees it and no new consent can agree to it; consents from before stay as "
        "they are. Or end the pairing of a unit that was stolen or scrapped: nothing that it signs is taken any more, "
        "and it hears of no consent; the consents of its car stay, for another unit. Neither can be undone.",
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "id",
        type=having_form(_parse),
        metavar="ID",
        help="an offer (off_…), or a unit by the 26 characters that `carnet-cloud enrol` printed",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask the running service, and say what stays."""
    from carnet_cloud.config import load

    config, name = load(arguments.config), arguments.id
    print(_end_offer(config, name) if name.startswith(OFFER) else _end_unit(config, name))
    return 0


def _parse(text: str) -> object:
    if text.startswith(RECORD):
        raise FormatError(
            "id_malformed", "this is a consent: its owner ends it, with  carnet owner withdraw; an offer is off_…"
        )
    return parse_id(text, OFFER) if text.startswith(OFFER) else device_bytes(text)


def _end_offer(config: CloudConfig, offer: str) -> str:
    from carnet.shapes import Kind
    from carnet_cloud.running import operator

    shape = {"recipient_name": Kind.TEXT, "records": Kind.NUMBER}
    done = operator.post(config, f"/v1/offers/{offer}/end", b"", shape)
    return f"ended offer {offer} of {done['recipient_name']}; consents from before that go on: {done['records']}"


def _end_unit(config: CloudConfig, device: str) -> str:
    from carnet.shapes import Kind
    from carnet_cloud.running import operator

    shape = {"vehicle": Kind.TEXT, "others": Kind.NUMBER}
    done = operator.post(config, f"/v1/devices/{device}/end", b"", shape)
    return (
        f"ended unit {device} of vehicle {done['vehicle']}; its consents stay, and other units of it that are heard: "
        f"{done['others']}"
    )
