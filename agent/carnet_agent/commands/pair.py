"""``carnet-agent pair``: give the unit its identity and pin its owner and its cloud."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from carnet.commandline import having_form, whole
from carnet.errors import UnavailableError
from carnet.ids import device_bytes, device_text
from carnet.ownerkeys import EPOCH_MAX
from carnet_agent.commands import CONFIG_DEFAULT
from carnet_agent.commands.wholefile import whole_file

EXAMPLE = """examples:
  carnet-agent pair --owner-key owner.public.json --cloud-keys cloud.public.json --out enrolment.json
  carnet-agent pair --renew --owner-key buyer.public.json --cloud-keys cloud.public.json --out enrolment.json

Then: carnet-cloud enrol enrolment.json --tenant ten_…
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "pair",
        help="give the unit its identity, pin owner and cloud",
        description="Make the unit's device id and keys, pin the owner's and the cloud's public keys, and write the "
        "enrolment that the cloud must be given.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, default=CONFIG_DEFAULT, metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--owner-key", type=Path, required=True, metavar="FILE", help="what `carnet owner keygen` wrote as public key"
    )
    parser.add_argument(
        "--cloud-keys", type=Path, required=True, metavar="FILE", help="what `carnet-cloud keygen` wrote"
    )
    parser.add_argument(
        "--vehicle",
        type=having_form(device_bytes),
        metavar="ID",
        help="the vehicle's 26 characters; default: a new vehicle",
    )
    parser.add_argument(
        "--epoch", type=whole(1, EPOCH_MAX), metavar="N", help="the owner's tenure; default: 1, with --renew the next"
    )
    parser.add_argument("--out", type=Path, default=Path("enrolment.json"), metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--renew", action="store_true", help="the vehicle has a new owner: destroy buffer and grants, begin again"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Pair and write the enrolment; returns the exit code. Raises carnet.errors.Error."""
    from carnet.enrolment import parse_enrolment
    from carnet_agent import config
    from carnet_agent.pairing import Pairing, pair, read_cloud_keys, read_owner_key

    settings = config.load(arguments.config)
    asked = Pairing(
        owner_key=read_owner_key(arguments.owner_key),
        cloud=read_cloud_keys(arguments.cloud_keys),
        vehicle=None if arguments.vehicle is None else device_bytes(arguments.vehicle),
        epoch=arguments.epoch,
        renew=arguments.renew,
    )
    # Opened first: a unit must not be paired and its enrolment lost for want of a folder.
    with whole_file(arguments.out) as file:
        try:
            enrolment = pair(settings.unit.state, asked, os.urandom)
        except OSError as error:
            sentence = f"{settings.unit.state} cannot be written: {error.strerror}"
            raise UnavailableError("state_unwritable", sentence) from error
        file.write(enrolment)
    paired = parse_enrolment(enrolment)
    print(f"paired: device {device_text(paired.device)}")
    print(f"for the owner: vehicle {device_text(paired.vehicle)}, epoch {paired.epoch}")
    print(f"for the cloud: carnet-cloud enrol {arguments.out} --tenant ten_…")
    return 0
