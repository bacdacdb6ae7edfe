"""``carnet owner`` and its commands: keygen, offers, grant, withdraw, pause, resume, renew, confirm, list, statement,
receipts, keys.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from carnet import ids
from carnet.cli import grant, hints, keys, ownerkey, receipts, show, statement
from carnet.cli.cloud import Cloud
from carnet.cli.kept import SUFFIX, Kept
from carnet.commandline import having_form
from carnet.errors import ConfigError, Error, RemoteError
from carnet.offers import parse_offer
from carnet.recordevents import RecordEvent, write_event
from carnet.refusals import DAY_MS
from carnet.states import ALIVE, WIDENING, EventKind, State

CLOUD = "http://127.0.0.1:8480"
EVENTS = {
    "withdraw": EventKind.WITHDRAW,
    "pause": EventKind.PAUSE,
    "resume": EventKind.RESUME,
    "renew": EventKind.RENEW,
}
HELP = {
    "withdraw": "end a consent; returns when nothing more goes out under it",
    "pause": "stop for now; what is captured meanwhile is never sent",
    "resume": "go on after a pause",
    "renew": "let a consent last longer",
}
RECORD = having_form(lambda text: ids.parse_id(text, ids.RECORD))
EXAMPLE = "example: carnet owner keygen --out ~/carnet-key"
ALREADY = {EventKind.PAUSE: State.SUSPENDED, EventKind.RESUME: State.GIVEN}
"""What a record is when it needs no such event."""
AT_THE_CAR = "at the car, `carnet-agent mode off` stops all sharing at once and needs no cloud"
NO_ANSWER = frozenset({"cloud_answer", "refused", "store_unavailable", "journal_unavailable"})
"""Reasons of answers that leave the owner without his narrowing, though asking again may help."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``owner`` with its commands."""
    owner = subparsers.add_parser(
        "owner",
        help="offers, consents and statements of your car",
        description="Who asks for what of your car, what you agreed to, and what they got.",
        epilog=EXAMPLE,
    )
    commands = owner.add_subparsers(metavar="COMMAND", required=True)
    keygen = commands.add_parser(
        "keygen",
        help="make your key",
        description="Make the key that your consents are signed with. Only its public half leaves this machine.",
        epilog=EXAMPLE,
    )
    keygen.add_argument("--out", type=Path, required=True, help="new folder for owner.key and owner.public.json")
    keygen.set_defaults(run=_keygen)

    offers = _command(commands, "offers", "who asks for what, and why", "carnet owner offers --vehicle abc…", _offers)
    offers.add_argument("--json", action="store_true", help="the documents as JSON")

    example = "carnet owner grant off_… --choose 2 --days 90"
    grant.add_arguments(_command(commands, "grant", "agree to an offer", example, _grant))
    for name, kind in EVENTS.items():
        days = " --days 90" if kind is EventKind.RENEW else ""
        run = _event if kind in WIDENING else _narrow
        event = _command(commands, name, HELP[name], f"carnet owner {name} rec_…{days}", run)
        event.add_argument("record", type=RECORD, help="the record's id, as `carnet owner list` shows it")
        event.add_argument("--json", action="store_true", help="the answer as JSON")
        if kind is EventKind.RENEW:
            event.add_argument("--days", type=grant.DAYS, required=True, help="from now on")
        event.set_defaults(kind=kind)

    confirm = _command(
        commands, "confirm", "after the cloud was restored: this consent stands", "carnet owner confirm rec_…", _confirm
    )
    confirm.add_argument("record", type=RECORD, help="the record's id")
    for name, text, run in (
        ("list", "your consents", _list),
        ("statement", "who got what, when, under which consent", _statement),
    ):
        _command(commands, name, text, f"carnet owner {name}", run).add_argument(
            "--json", action="store_true", help="as JSON"
        )
    text = "what proves your consents and what recipients got, checked and kept as files"
    receipts.add_arguments(_command(commands, "receipts", text, "carnet owner receipts --out receipts", _receipts))
    text = "which keys may sign for your car; one more, or one less"
    keys.add_arguments(_command(commands, "keys", text, "carnet owner keys --add phone/owner.public.json", _keys))


def _command(commands: Any, name: str, text: str, example: str, run: object) -> argparse.ArgumentParser:
    """A command that talks to the cloud."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=f"example: {example}"
    )
    parser.add_argument(
        "--cloud", default=os.environ.get("CARNET_CLOUD", CLOUD), help="address of the consent API (CARNET_CLOUD)"
    )
    parser.add_argument(
        "--vehicle", default=os.environ.get("CARNET_VEHICLE", ""), help="your vehicle, 26 characters (CARNET_VEHICLE)"
    )
    parser.add_argument("--key", type=Path, default=_key_default(), help="folder or file of your key (CARNET_KEY)")
    parser.set_defaults(run=run)
    return parser


def _key_default() -> Path | None:
    return Path(os.environ["CARNET_KEY"]) if "CARNET_KEY" in os.environ else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _cloud(arguments: argparse.Namespace) -> Cloud:
    try:
        ids.device_bytes(arguments.vehicle)
    except Error as e:
        raise _no_vehicle(arguments.vehicle) from e
    owner = None
    if arguments.key:
        file = ownerkey.file_of(arguments.key).with_suffix(SUFFIX)
        kept = Kept(file, arguments.cloud.rstrip("/"), arguments.vehicle, _now_ms)
        if kept.unread:
            _warn(kept.unread)
        owner = ownerkey.read(arguments.key), kept
    return Cloud(arguments.cloud, arguments.vehicle, owner, _now_ms, _warn)


def _no_vehicle(text: str) -> ConfigError:
    """What is wrong with it. It is not repeated: it may be a VIN."""
    if text:
        form = "26 characters of a to z and 2 to 7, as `carnet-agent pair` printed them, not the VIN"
        return ConfigError("vehicle_malformed", f"what --vehicle or CARNET_VEHICLE holds is no vehicle's id: {form}")
    return ConfigError(
        "vehicle_missing",
        "name your vehicle: type  export CARNET_VEHICLE=ID  first, or --vehicle ID (the 26 characters that "
        "`carnet-agent pair` printed)",
    )


def _warn(sentence: str) -> None:
    print(f"carnet: {sentence}", file=sys.stderr)


def _keygen(arguments: argparse.Namespace) -> int:
    public = ownerkey.make(arguments.out, os.urandom)
    print(f"your key is in {arguments.out}; keep a copy in a safe place, and pair the unit with {public}")
    return 0


def _offers(arguments: argparse.Namespace) -> int:
    cloud = _cloud(arguments)
    offers = [(parse_offer(document), document) for document in cloud.offers()]
    if arguments.json:
        print(show.as_json([document.decode() for _, document in offers]))
    elif not offers:
        print(
            f"nobody asks for anything of vehicle {arguments.vehicle}, or the cloud does not know it: {hints.VEHICLE}"
        )
    else:
        asked = sorted({item.category for offer, _ in offers for item in offer.items if item.category is not None})
        meant = {category: cloud.paths_of(category) for category in asked}
        print("\n".join(line for offer, _ in offers for line in show.offer_lines(offer, meant)))
    return 0


def _grant(arguments: argparse.Namespace) -> int:
    cloud = _cloud(arguments)
    if arguments.key is None:
        raise ConfigError("key_missing", ownerkey.MISSING)
    print(grant.run(cloud, arguments, _now_ms()))
    return 0


def _narrow(arguments: argparse.Namespace) -> int:
    """An event that narrows. Whoever cannot reach the cloud learns what stops the car itself."""
    try:
        return _event(arguments)
    except Error as error:
        if error.temporary or error.reason in NO_ANSWER:
            raise type(error)(error.reason, f"{error}; {AT_THE_CAR}") from error
        raise


def _event(arguments: argparse.Namespace) -> int:
    cloud = _cloud(arguments)
    known = next((each for each in cloud.records() if each["record"] == arguments.record), None)
    if known is None:
        raise RemoteError("record_unknown", f"this vehicle has no record {arguments.record}: see  carnet owner list")
    if known["state"] == ALREADY.get(arguments.kind):
        print(show.as_json(known) if arguments.json else f"{known['record']}  {known['state']} already")
        return 0
    now_ms = _now_ms()
    event = RecordEvent(
        record=arguments.record,
        seq=known["event_seq"] + 1,
        kind=arguments.kind,
        time_ms=now_ms,
        prev=known["head"],
        expires_ms=now_ms + arguments.days * DAY_MS if arguments.kind is EventKind.RENEW else None,
    )
    token = write_event(event, ownerkey.read(arguments.key).secret)
    answer = cloud.happen(arguments.record, token, widens=arguments.kind in WIDENING)
    print(show.as_json(answer) if arguments.json else _event_line(answer))
    return 0


def _event_line(answer: dict[str, Any]) -> str:
    line = f"{answer['record']}  {answer['state']}"
    if "silent_after_ms" not in answer:
        return f"{line}, ends {show.day(answer['expires_ms'])}"
    destroyed = show.counted(answer["destroyed"], "waiting event")
    line += f": silent after {answer['silent_after_ms']} ms, {destroyed} destroyed"
    return line + (f", of {answer['unknown']} in flight nobody knows whether they arrived" if answer["unknown"] else "")


def _confirm(arguments: argparse.Namespace) -> int:
    print(f"{_cloud(arguments).confirm(arguments.record)['record']}  confirmed")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    cloud = _cloud(arguments)
    records = cloud.records()
    if arguments.json:
        print(show.as_json(records))
        return 0
    # when it was over is in the statement alone
    some_over = any(record["state"] not in ALIVE for record in records)
    ended = {each["record"]: each["ended_ms"] for each in cloud.statement()["records"]} if some_over else {}
    print("\n".join(show.record_line(each, ended.get(each["record"])) for each in records) or statement.NONE)
    return 0


def _statement(arguments: argparse.Namespace) -> int:
    found = _cloud(arguments).statement()
    print(show.as_json(found) if arguments.json else "\n".join(statement.statement_lines(found)))
    return 0


def _receipts(arguments: argparse.Namespace) -> int:
    print("\n".join(receipts.fetch(_cloud(arguments), arguments)))
    return 0


def _keys(arguments: argparse.Namespace) -> int:
    cloud = _cloud(arguments)
    if arguments.key is None:
        raise ConfigError("key_missing", ownerkey.MISSING)
    print(keys.run(cloud, arguments, _now_ms()))
    return 0
