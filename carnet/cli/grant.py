"""``carnet owner grant``: agree to an offer, for this vehicle, in this tenure, for so long.

Law: what is signed is what was typed and what the offer says; nothing in it is the cloud's choice.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from carnet import ids, jws
from carnet.cli import hints, ownerkey, show
from carnet.cli.cloud import Cloud
from carnet.commandline import formed, having_form, whole
from carnet.errors import ConfigError, Error, RemoteError
from carnet.keys import SigningKey
from carnet.offers import ITEMS_MAX, VALID_DAYS_MAX, Offer, parse_offer
from carnet.ownerkeys import EPOCH_MAX
from carnet.records import Record, choose, sign_record
from carnet.refusals import DAY_MS

DAYS = whole(1, VALID_DAYS_MAX)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command needs beside those of every command."""
    parser.add_argument("offer", type=having_form(lambda text: ids.parse_id(text, ids.OFFER)), help="the offer's id")
    parser.add_argument(
        "--choose",
        type=whole(0, ITEMS_MAX - 1),
        nargs="+",
        default=[],
        metavar="N",
        help="optional items, by the numbers that `carnet owner offers` shows",
    )
    parser.add_argument("--days", type=DAYS, help="how long; the offer's own limit if not given")
    parser.add_argument(
        "--reference",
        type=formed(r"[ -~]{0,64}", "at most 64 plain ASCII characters"),
        default="",
        help="your policy or job number at the recipient",
    )
    parser.add_argument(
        "--epoch", type=whole(1, EPOCH_MAX), default=1, help="tenure of the vehicle, as `carnet-agent pair` said (1)"
    )
    parser.add_argument(
        "--language",
        type=formed(r"[a-z]{2,3}(-[A-Z]{2})?", "a code such as de or de-AT"),
        default="en",
        help="language in which you read the offer",
    )
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def run(cloud: Cloud, arguments: argparse.Namespace, now_ms: int) -> str:
    """Sign and send it; what to print. ConfigError, RemoteError."""
    mine = ownerkey.read(arguments.key)
    offer = _offer(cloud, arguments.offer)
    record = _record(arguments, offer, now_ms)
    try:
        answer = cloud.give(sign_record(record, mine.secret))
    except RemoteError as error:
        if error.reason != "record_epoch":
            raise
        raise RemoteError(error.reason, f"{error}{_other_tenure(cloud, mine, record.epoch)}") from error
    if arguments.json:
        return show.as_json(answer)
    until = show.day(record.expires_ms)
    agreed = f"{answer['record']}  {answer['state']}: {offer.recipient_name}, until {until}"
    return "\n".join([agreed, *_items(offer, record)])


def _offer(cloud: Cloud, name: str) -> Offer:
    """The offer of this id. RemoteError ``offer_unknown``."""
    offers = [parse_offer(document) for document in cloud.offers()]
    for offer in offers:
        if offer.id == name:
            return offer
    look = "see  carnet owner offers" if offers else f"it has none: {hints.VEHICLE}"
    raise RemoteError("offer_unknown", f"the cloud has no offer {name} for this vehicle; {look}")


def _items(offer: Offer, record: Record) -> Iterator[str]:
    return (show.item_line(number, offer.items[number]) for number in record.items)


def _other_tenure(cloud: Cloud, mine: SigningKey, epoch: int) -> str:
    """What to type if the cloud says that the key counts in another tenure. It is only told: a cloud whose word was
    signed could collect consents for a tenure to come, after a lease, say.
    """
    own = jws.thumbprint(mine.public)
    try:
        keys = cloud.keys()
    except Error:
        return ""
    told = max((each["epoch"] for each in keys if each["thumbprint"] == own), default=epoch)
    if told == epoch:
        return ""
    return (
        f"; the cloud says that your tenure of this vehicle is {told}: if `carnet-agent pair` printed epoch {told}, "
        f"too, add  --epoch {told}"
    )


def _record(arguments: argparse.Namespace, offer: Offer, now_ms: int) -> Record:
    return Record(
        id=ids.new_id(ids.RECORD, os.urandom),
        offer=offer.id,
        offer_hash=offer.hash,
        tenant=offer.tenant,
        recipient=offer.recipient,
        vehicle=arguments.vehicle,
        epoch=arguments.epoch,
        items=choose(offer, _optional(arguments.choose, offer)),
        reference=arguments.reference,
        language=arguments.language,
        given_ms=now_ms,
        not_before_ms=now_ms,
        expires_ms=now_ms + _days(arguments.days, offer) * DAY_MS,
    )


def _optional(numbers: list[int], offer: Offer) -> list[int]:
    optional = [number for number, item in enumerate(offer.items) if item.need == "optional"]
    wrong = sorted(set(numbers) - set(optional))
    if wrong:
        there = f"optional are {', '.join(map(str, optional))}" if optional else "no item of it is optional"
        raise ConfigError("option", f"--choose {wrong[0]}: the offer has no optional item with this number; {there}")
    return numbers


def _days(asked: int | None, offer: Offer) -> int:
    """How long: what was asked, never silently more or less; the offer's own limit if nothing was."""
    if asked is None:
        return offer.valid_days
    if asked > offer.valid_days:
        raise ConfigError("days", f"--days: this offer can be agreed to for 1 to {offer.valid_days} days")
    return asked
