"""``carnet verify FILE…``: what receipts of the transparency log prove, checked on this machine alone.

Law: nothing is called proven by a key that the receipt brought along; without the log's key nothing is proven.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from carnet.cli import show
from carnet.cli.logkeys import parse_given
from carnet.errors import ConfigError, Error, FormatError, LedgerError, RemoteError
from carnet.ledger.account import Account, Count, judge_accounts
from carnet.ledger.checkpoint import Checkpoint
from carnet.ledger.follow import SENTENCES, Verdict, judge
from carnet.ledger.leaf import ConsentLeaf, Leaf, LogLeaf
from carnet.ledger.merkle import TreeHead
from carnet.ledger.receipt import RECEIPT_BYTES_MAX, Receipt, parse_receipt
from carnet.ledger.signednote import NoteKey

EXAMPLE = "example: carnet verify receipt.json --checkpoint-key carnet.example/log+d2e01b3c+AdZa…"
VARIABLE = "CARNET_CHECKPOINT_KEY"
Found = TypeVar("Found")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``verify``."""
    verify = subparsers.add_parser(
        "verify",
        help="check receipts of the transparency log, offline",
        description="Check that receipts are of the log whose key you have, and say what they prove. Several accounts "
        "of one consent are checked against each other: nothing may be missing between them or added after its end.",
        epilog=EXAMPLE,
    )
    verify.add_argument("files", type=Path, nargs="+", metavar="FILE", help="receipts, as the cloud gave them")
    verify.add_argument(
        "--checkpoint-key",
        action="append",
        metavar="KEY",
        help=f"the log's public key, or a file of such; again for each that was ever used ({VARIABLE})",
    )
    verify.add_argument("--json", action="store_true", help="what was proven as JSON")
    verify.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    """Every receipt for itself, then all together; what is refused keeps nothing else from being shown."""
    refused: list[Error] = []
    receipts = _passed(refused, (partial(_read, file) for file in arguments.files))
    if not receipts:
        return _code(refused)
    keys = _keys(arguments.checkpoint_key, [receipt for _, receipt in receipts])
    proven = _passed(refused, (partial(_proof, file, receipt, keys) for file, receipt in receipts))
    _require_one_history([checkpoint for _, checkpoint in proven])
    stories = _passed(refused, (partial(_story, placed) for placed in _accounts(proven)))
    if arguments.json:
        print(show.as_json([_document(*each) for each in proven]))
        return _code(refused)
    for receipt, checkpoint in proven:
        print(f"proven: {checkpoint.origin} holds at place {receipt.index} of {checkpoint.head.size}")
        print(f"  {_sentence(receipt.leaf)}")
    for story in filter(None, stories):
        print(story)
    return _code(refused)


def _passed(refused: list[Error], steps: Iterable[Callable[[], Found]]) -> list[Found]:
    """What the steps find; what one is refused for is said at once."""
    found = []
    for step in steps:
        try:
            found.append(step())
        except Error as error:
            refused.append(error)
            print(f"carnet: {error}", file=sys.stderr)
    return found


def _code(refused: list[Error]) -> int:
    """A receipt that is refused is worse than a file that is not there."""
    if not refused:
        return 0
    return 2 if all(isinstance(error, ConfigError) for error in refused) else 1


def _proof(file: Path, receipt: Receipt, keys: tuple[NoteKey, ...]) -> tuple[Receipt, Checkpoint]:
    try:
        return receipt, receipt.verify(keys)
    except RemoteError as e:
        raise type(e)(e.reason, f"{file}: {e}") from e


def _read(file: Path) -> tuple[Path, Receipt]:
    try:
        with file.open("rb") as opened:
            data = opened.read(RECEIPT_BYTES_MAX + 1)
    except OSError as e:
        raise ConfigError("receipt_file", f"{file} cannot be read: {e.strerror}") from e
    try:
        # a line feed at the end is what editors and shells add
        return file, parse_receipt(data.removesuffix(b"\n"))
    except FormatError as e:
        raise FormatError(e.reason, f"{file} is not a receipt: {e}") from e


def _keys(texts: list[str] | None, receipts: Iterable[Receipt]) -> tuple[NoteKey, ...]:
    given = texts or ([os.environ[VARIABLE]] if VARIABLE in os.environ else [])
    if not given:
        names = ", ".join(sorted({receipt.claimed().origin for receipt in receipts}))
        raise ConfigError(
            "checkpoint_key", f"nothing is proven without the key of the log {names}: --checkpoint-key KEY"
        )
    return parse_given(given)


def _require_one_history(checkpoints: list[Checkpoint]) -> None:
    """Two signed heads of one size and different roots: the log shows different people different logs."""
    heads: dict[tuple[str, int], TreeHead] = {}
    for checkpoint in checkpoints:
        head = heads.setdefault((checkpoint.origin, checkpoint.head.size), checkpoint.head)
        if judge(head, checkpoint.head).verdict is Verdict.FORKED:
            raise LedgerError("log_forked", f"{checkpoint.origin}, size {head.size}: {SENTENCES[Verdict.FORKED]}")


def _accounts(proven: list[tuple[Receipt, Checkpoint]]) -> list[list[tuple[int, Account]]]:
    """The accounts of each record of each log, by their number."""
    found: dict[tuple[str, str], set[tuple[int, Account]]] = defaultdict(set)
    for receipt, checkpoint in proven:
        if isinstance(receipt.leaf, Account):
            found[checkpoint.origin, receipt.leaf.record].add((receipt.index, receipt.leaf))
    return [sorted(placed, key=lambda each: (each[1].number, each[0])) for placed in found.values()]


def _sentence(leaf: Leaf) -> str:
    """What the leaf says, in words."""
    when = show.day(leaf.time_ms)
    if isinstance(leaf, LogLeaf):
        return f"{when}: here begins the log of {leaf.tenant}"
    if isinstance(leaf, ConsentLeaf):
        return (
            f"{when}, {leaf.event}: {leaf.record} for {leaf.recipient} is {leaf.state} after its entry {leaf.seq}"
            f" (grant set {leaf.generation})"
        )
    occasion = f"{leaf.record} ended ({leaf.ended})" if leaf.ended else f"the day {leaf.day} was over"
    unknown = f"; of {_counted(leaf.unknown)} nobody knows whether they arrived" if leaf.unknown.events else ""
    last = f"; the last was {leaf.last_event}" if leaf.last_event else ""
    confirmed = f"{leaf.recipient} had confirmed {_counted(leaf.confirmed)} under {leaf.record}"
    return f"{when}, {occasion}: {confirmed}{unknown}{last}"


def _counted(count: Count) -> str:
    return f"{show.counted(count.events, 'event')} with {show.counted(count.samples, 'sample')}"


def _story(placed: Sequence[tuple[int, Account]]) -> str:
    """What accounts of one record show together, or nothing of one alone; LedgerError if they contradict each other."""
    judge_accounts(placed)
    if len(placed) == 1:
        return ""
    (_, first), (_, last) = placed[0], placed[-1]
    more = Count(last.total.events - first.total.events, last.total.samples - first.total.samples)
    line = (
        f"together: {len(placed)} accounts of {first.record}, none missing between them; from {show.day(first.time_ms)}"
        f" to {show.day(last.time_ms)} {first.recipient} got {_counted(more)} more"
    )
    ended = next((account for _, account in placed if account.ended), None)
    if ended is None:
        return line
    what = "the last of them is its end" if ended is last else "nothing was added after its end"
    return f"{line}; {what}, {show.day(ended.time_ms)}"


def _document(receipt: Receipt, checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.head.size,
        "index": receipt.index,
        "leaf": receipt.leaf.document(),
    }
