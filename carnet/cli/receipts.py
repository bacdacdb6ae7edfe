"""``carnet owner receipts``: fetch what proves each consent and each account, check it, and keep it as files.

Law: nothing is kept that was not verified; what contradicts itself is kept as evidence, and the command fails.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from carnet import ids
from carnet.cli import show
from carnet.cli.cloud import Cloud
from carnet.cli.follower import Contradicted, Follower
from carnet.cli.logkeys import parse_given
from carnet.errors import ConfigError, LedgerError, RemoteError
from carnet.ledger.account import Account, Count, judge_accounts
from carnet.ledger.leaf import ConsentLeaf, Leaf
from carnet.ledger.receipt import Receipt, parse_receipt
from carnet.ledger.signednote import NoteKey
from carnet.ledger.unlogged import missing, require_before
from carnet.recordevents import entry_hash
from carnet.states import ALIVE

EVIDENCE_FILE = "contradiction.json"
KEY_FILE = "checkpoint.key"
NOTHING = "you have agreed to nothing yet: no receipts"

Steps = dict[int, Receipt]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command needs beside those of every command."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the receipts")
    parser.add_argument(
        "--checkpoint-key",
        action="append",
        default=[],
        metavar="KEY",
        help="the log's public key, or a file of it, if you were given it: no other is believed then",
    )


def fetch(cloud: Cloud, arguments: argparse.Namespace) -> list[str]:
    """Fetch, check and write; a line for each record, and how to check them again without us. LedgerError if the log or
    an account contradicts what was shown before, with the evidence in the folder.
    """
    follower = cloud.follower(parse_given(arguments.checkpoint_key))
    # in this order: what comes in between is in the later answers only, and nothing of it is missing then
    statement = {each["record"]: each for each in cloud.statement()["records"]}
    entries = cloud.entries()
    if not statement:
        return [NOTHING]
    _make(arguments.out)
    lines, keys = [], dict[str, NoteKey]()
    for record in sorted(statement):
        ids.parse_id(record, ids.RECORD)
        origin, steps, is_waiting = _all(cloud, record)
        if steps:
            own = _check(follower, origin, record, steps, statement[record], arguments.out)
            keys |= {key.text(): key for key in own}
            for step, receipt in steps.items():
                _write(arguments.out / f"{record}.{step:04}.json", receipt.encode())
        shown = entries.get(record, [])
        if not shown:
            raise missing(f"the cloud shows no entry of {record}, which its statement names")
        unlogged = _require_entries([each.leaf for _, each in sorted(steps.items())], shown, is_waiting)
        since = f", {_before(cloud, follower, origin, record, shown[:unlogged], arguments.out)}" if unlogged else ""
        more = ", more wait for their place" if is_waiting else ""
        lines.append(f"{record}  {show.counted(len(steps), 'receipt')}{since}{more}")
    if not keys:
        return [*lines, "no receipt is there: ask again in a minute if one waits"]
    _write(arguments.out / KEY_FILE, "".join(f"{text}\n" for text in sorted(keys)).encode())
    check = f"carnet verify {arguments.out}/rec_*.json --checkpoint-key {arguments.out / KEY_FILE}"
    return [*lines, f"all of them verified; anybody can, offline:  {check}"]


def _all(cloud: Cloud, record: str) -> tuple[str, Steps, bool]:
    """Name of the log, every receipt of a record by its step, and whether a leaf still waits."""
    steps: Steps = {}
    while True:
        answer = cloud.receipts(record, max(steps, default=-1))
        steps |= {each["step"]: parse_receipt(each["receipt"].encode()) for each in answer["receipts"]}
        if not (answer["more"] and answer["receipts"]):
            return answer["origin"], steps, answer["waiting"]


def _check(
    follower: Follower, origin: str, record: str, steps: Steps, stands: dict[str, Any], folder: Path
) -> tuple[NoteKey, ...]:
    """Every receipt is of this record and in the log, its accounts are one story, the statement says no less."""
    keys = _follow(follower, origin, steps.values(), folder)
    for receipt in steps.values():
        receipt.verify(keys)
        if getattr(receipt.leaf, "record", "") != record:
            raise LedgerError("receipt_other", "the cloud gave a receipt of another record")
    accounts = [(each.index, each.leaf) for _, each in sorted(steps.items()) if isinstance(each.leaf, Account)]
    judge_accounts(accounts)
    if accounts:
        _require_no_less(accounts[-1][1], stands["account"])
    return keys


def _follow(follower: Follower, origin: str, receipts: Iterable[Receipt], folder: Path) -> tuple[NoteKey, ...]:
    """The log's keys, once it contains all that was seen of it; a contradiction is kept and raised."""
    try:
        return follower.follow(origin, [receipt.checkpoint for receipt in receipts])
    except Contradicted as error:
        _write(folder / EVIDENCE_FILE, error.evidence.encode())
        raise LedgerError(error.reason, f"{error}; the evidence is in {folder / EVIDENCE_FILE}") from error


def _require_entries(leaves: list[Leaf], entries: list[str], is_waiting: bool) -> int:
    """Each entry that the cloud shows has its leaf, which bears its hash; and an end has its account. How many entries
    before the first leaf have none: they must be older than the log.
    """
    logged = [leaf for leaf in leaves if isinstance(leaf, ConsentLeaf)]
    unlogged = logged[0].seq if logged else 0 if is_waiting else len(entries)
    for number, leaf in enumerate(logged, unlogged):
        # an entry that is logged and not shown came after the entries were fetched
        if leaf.seq != number or (number < len(entries) and leaf.entry != entry_hash(entries[number])):
            raise LedgerError("entry_other", f"the log has another entry of {leaf.record} than the cloud shows")
    has_end = any(isinstance(leaf, Account) and leaf.ended for leaf in leaves)
    is_over = any(leaf.state not in ALIVE for leaf in logged)
    is_short = unlogged + len(logged) < len(entries) or (is_over and not has_end)
    if unlogged > len(entries) or (is_short and not is_waiting):
        raise missing()
    return unlogged


def _before(cloud: Cloud, follower: Follower, origin: str, record: str, entries: list[str], folder: Path) -> str:
    """What is said of entries from before there was a log; LedgerError if they are not, or it cannot be seen."""
    if not origin:
        raise LedgerError(
            "log_none",
            f"the cloud shows no log at all, so that it cannot be told whether {record} is from before there was one: "
            "there is one as soon as anything is given or changed",
        )
    try:
        first = parse_receipt(cloud.first_leaf(origin).encode())
    except RemoteError as error:
        raise missing(f"{record} has an entry without a leaf, and when the log began is not shown: {error}") from error
    first.verify(_follow(follower, origin, [first], folder))
    require_before(record, entries, first, cloud.now_ms(), cloud.own_keys())
    what = "was given" if len(entries) == 1 else f"was given and changed ({len(entries)} entries)"
    return f"{what} before there was a log: that has no receipt, only your own signature"


def _require_no_less(account: Account, told: dict[str, Any]) -> None:
    """The statement says at least what the newest account says."""
    confirmed, unknown = (Count(told[name]["events"], told[name]["samples"]) for name in ("confirmed", "unknown"))
    if not confirmed.covers(account.confirmed) or not (confirmed + unknown).covers(account.total):
        raise LedgerError("statement_falls", f"the statement says less of {account.record} than an account in the log")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError("receipts_unwritable", f"{folder} cannot be made or written: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ConfigError("receipts_unwritable", f"{path} cannot be written: {error.strerror}") from error
