"""The vectors of the log: each is accepted, or refused for exactly the reason it names, and none is out of date."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carnet.errors import RemoteError
from carnet.ledger import account, checkpoint, leaf, receipt, signednote
from carnet.ledger.account import Account, judge_accounts
from carnet.ledger.checkpoint import verify_checkpoint
from carnet.ledger.follow import Verdict, judge
from carnet.ledger.leaf import KINDS, parse_leaf
from carnet.ledger.merkle import TreeHead
from carnet.ledger.proof import verify_consistency, verify_inclusion
from carnet.ledger.receipt import parse_receipt
from carnet.ledger.signednote import parse_note_key
from tests.conftest import CHECKOUT
from tests.vectors import make_ledger_vectors as maker

PAGE = (CHECKOUT / "docs" / "ledger.md").read_text(encoding="utf-8")
INCLUSION, CONSISTENCY, FOLLOW, CHECKPOINTS, RECEIPTS, ACCOUNTS = (
    json.loads((maker.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("inclusion", "consistency", "follow", "checkpoints", "receipts", "accounts")
)


def cases(document: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", document["vectors"], ids=lambda vector: str(vector["name"]))


def outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except RemoteError as refusal:
        return refusal.reason
    return "accepted"


def hashes(path: list[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in path]


def head(document: dict[str, Any]) -> TreeHead:
    return TreeHead(document["size"], bytes.fromhex(document["root"]))


@cases(INCLUSION)
def test_inclusion(vector: dict[str, Any]) -> None:
    arguments = (bytes.fromhex(vector["leaf"]), vector["index"], head(vector), hashes(vector["path"]))
    assert outcome(lambda: verify_inclusion(*arguments)) == vector["outcome"]


@cases(CONSISTENCY)
def test_consistency(vector: dict[str, Any]) -> None:
    arguments = (head(vector["first"]), head(vector["second"]), hashes(vector["path"]))
    assert outcome(lambda: verify_consistency(*arguments)) == vector["outcome"]


@cases(FOLLOW)
def test_follow(vector: dict[str, Any]) -> None:
    path = None if vector["path"] is None else hashes(vector["path"])
    assert judge(head(vector["seen"]), head(vector["told"]), path).verdict == vector["outcome"]


@cases(CHECKPOINTS)
def test_a_checkpoint(vector: dict[str, Any]) -> None:
    keys = [parse_note_key(text) for text in CHECKPOINTS["keys"]]
    assert outcome(lambda: verify_checkpoint(vector["note"], keys)) == vector["outcome"]


@cases(RECEIPTS)
def test_a_receipt(vector: dict[str, Any]) -> None:
    """What is accepted is written again as the same bytes."""
    keys = [parse_note_key(text) for text in RECEIPTS["keys"]]
    data = vector["receipt"].encode()
    assert outcome(lambda: parse_receipt(data).verify(keys)) == vector["outcome"]
    if vector["outcome"] == "accepted":
        assert parse_receipt(data).encode() == data


@cases(ACCOUNTS)
def test_accounts(vector: dict[str, Any]) -> None:
    placed = [(index, parse_leaf(document)) for index, document in vector["accounts"]]
    accounts = [(index, found) for index, found in placed if isinstance(found, Account)]
    assert len(accounts) == len(placed)
    assert outcome(lambda: judge_accounts(accounts)) == vector["outcome"]


def test_the_files_are_what_their_maker_makes() -> None:
    """Neither the documents nor the vectors change without the other."""
    made = maker.make()
    assert sorted(made) == sorted(path.name for path in maker.FOLDER.iterdir())
    for name, content in made.items():
        assert (maker.FOLDER / name).read_text(encoding="utf-8") == content


def test_every_reason_of_the_page_has_a_vector_or_a_test_and_every_vector_a_reason_of_the_page() -> None:
    """Nobody is refused for a reason that cannot be looked up."""
    section = PAGE.partition("\n## Refusals\n")[2]
    documented = {reason for row in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE) for reason in
                  re.findall(r"`(\w+)`", row)}  # fmt: skip
    files = (INCLUSION, CONSISTENCY, CHECKPOINTS, RECEIPTS, ACCOUNTS)
    reasons = {vector["outcome"] for document in files for vector in document["vectors"]} - {"accepted"}
    assert reasons <= documented
    # a key is no document of the other side's; a fork shows in two receipts; a size has its own vector in consent
    assert documented - reasons == {"note_key", "log_forked", "json_size"}


def test_every_reason_in_the_code_is_on_the_page() -> None:
    """Read from the source."""
    files = [Path(module.__file__ or "") for module in (account, checkpoint, leaf, receipt, signednote)]
    files += [files[0].with_name("proof.py"), CHECKOUT / "carnet" / "cli" / "verify.py"]
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    raised = set(re.findall(r'(?:Format|Ledger|Signature)Error\(\s*"(\w+)"', source)) - {"body_malformed"}
    assert raised and all(f"`{reason}`" in PAGE for reason in raised)


def test_kinds_and_verdicts_are_those_of_the_page() -> None:
    assert all(f"**`{kind}`**" in PAGE for kind in KINDS)
    section = PAGE.partition("\n## Following the log\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [verdict.value for verdict in Verdict]
