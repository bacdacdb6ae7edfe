"""Receipts: small, verified offline, and no change of any kind passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carnet import canonical
from carnet.errors import FormatError, RemoteError
from carnet.ledger.checkpoint import Checkpoint
from carnet.ledger.merkle import TreeHead, leaf_hash, node_hash
from carnet.ledger.receipt import RECEIPT_BYTES_MAX, Receipt, parse_receipt
from tests.carnet.ledger.kit import KEY, NOTE_KEY, ORIGIN, OTHER_NOTE_KEY, Log, account, consent, log_leaf, story

LOG = story()
RECEIPTS = [LOG.receipt(index) for index in range(LOG.size)]
DATA = RECEIPTS[5].encode()


def outcome(receipt: Receipt | bytes) -> str:
    try:
        (parse_receipt(receipt) if isinstance(receipt, bytes) else receipt).verify([NOTE_KEY])
    except RemoteError as error:
        return error.reason
    return "accepted"


@pytest.mark.parametrize("receipt", RECEIPTS, ids=range(LOG.size))
def test_every_leaf_of_a_log_has_a_receipt(receipt: Receipt) -> None:
    parsed = parse_receipt(receipt.encode())
    assert parsed == receipt
    assert parsed.verify([NOTE_KEY]) == Checkpoint(ORIGIN, LOG.head())


@pytest.mark.parametrize("size", range(2, LOG.size + 1))
def test_a_receipt_of_any_head_since_is_one(size: int) -> None:
    """An old receipt stays good; so does its checkpoint."""
    assert outcome(LOG.receipt(1, size)) == "accepted"


def test_the_key_of_another_log_verifies_nothing() -> None:
    with pytest.raises(RemoteError):
        RECEIPTS[1].verify([OTHER_NOTE_KEY])
    with pytest.raises(RemoteError):
        RECEIPTS[1].verify([])


@pytest.mark.parametrize("at", range(len(DATA)))
def test_a_receipt_with_a_flipped_bit_anywhere_is_refused(at: int) -> None:
    """All eight bits of every byte."""
    for bit in range(8):
        changed = bytearray(DATA)
        changed[at] ^= 1 << bit
        assert outcome(bytes(changed)) != "accepted"


@pytest.mark.parametrize("length", range(len(DATA)))
def test_a_truncated_receipt_is_refused(length: int) -> None:
    with pytest.raises(FormatError):
        parse_receipt(DATA[:length])


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_breaks(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_receipt(data)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another leaf": (lambda r: r.update(leaf=consent().document()), "proof_root"),
    "another number in the leaf": (lambda r: r["leaf"]["confirmed"].update(events=11), "proof_root"),
    "another salt": (lambda r: r.update(salt="A" * 22), "proof_root"),
    "no salt": (lambda r: r.update(salt=""), "receipt_malformed"),
    "spare bits in the salt": (lambda r: r.update(salt="A" * 21 + "B"), "receipt_malformed"),
    "a short salt": (lambda r: r.update(salt="A" * 20), "receipt_malformed"),
    "another index": (lambda r: r.update(index=4), "proof_root"),
    "an index behind the end": (lambda r: r.update(index=8), "proof_index"),
    "an index below zero": (lambda r: r.update(index=-1), "receipt_malformed"),
    "no proof": (lambda r: r.update(proof=""), "proof_length"),
    "a hash more": (lambda r: r.update(proof=r["proof"] + "A" * 43), "proof_length"),
    "half a hash": (lambda r: r.update(proof="A" * 22), "receipt_malformed"),
    "53 hashes": (lambda r: r.update(proof="A" * 2262), "proof_length"),
    "54 hashes": (lambda r: r.update(proof="A" * (54 * 32 * 4 // 3)), "receipt_malformed"),
    "another version": (lambda r: r.update(v=2), "receipt_malformed"),
    "another type": (lambda r: r.update(type="record"), "receipt_malformed"),
    "a key of its own": (lambda r: r.update(key=NOTE_KEY.text()), "receipt_malformed"),
    "no checkpoint": (lambda r: r.pop("checkpoint"), "receipt_malformed"),
    "a checkpoint that is no text": (lambda r: r.update(checkpoint=[r["checkpoint"]]), "receipt_malformed"),
    "the checkpoint of another size": (lambda r: r.update(checkpoint=LOG.checkpoint(7)), "proof_root"),
    "the checkpoint from before it": (lambda r: r.update(checkpoint=LOG.checkpoint(5)), "proof_index"),
    "a leaf that is none": (lambda r: r["leaf"].update(number=0), "leaf_malformed"),
    "a list": (lambda r: r.update(leaf=[]), "leaf_malformed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_receipt_is_refused(name: str) -> None:
    change, reason = CHANGES[name]
    document = json.loads(DATA)
    change(document)
    assert outcome(canonical.encode(document)) == reason


def test_a_receipt_has_a_bound() -> None:
    """That of the page; within it is room for the lines of sixteen witnesses."""
    assert RECEIPT_BYTES_MAX == 262_144
    assert outcome(b'"' + b"a" * 262_142 + b'"') == "receipt_malformed"
    assert outcome(b'"' + b"a" * 262_143 + b'"') == "json_size"


def test_a_receipt_in_another_spelling_is_refused() -> None:
    assert outcome(json.dumps(json.loads(DATA)).encode()) == "json_not_canonical"


def test_only_the_first_leaf_says_whose_log_it_is() -> None:
    """An event's log position of 0 names no consent; and a log cannot be another tenant's from some leaf on."""
    assert outcome(Log(consent()).receipt(0)) == "receipt_first"
    assert outcome(Log(log_leaf(), log_leaf()).receipt(1)) == "receipt_first"
    assert outcome(Log(log_leaf(origin="carnet.example/other")).receipt(0)) == "receipt_first"


def test_a_node_of_the_tree_is_no_leaf() -> None:
    """The second preimage: what RFC 6962 puts 0x00 and 0x01 for."""
    pair = node_hash(bytes(32), bytes(32))
    assert leaf_hash(bytes(64)) != pair


@pytest.mark.parametrize("power", [20, 27, 32])
def test_a_receipt_is_small_however_large_the_log(power: int) -> None:
    """Under 2 kB with the longest leaf; the hashes are made up, their number is not."""
    leaf = account(999_999, 5_000_000, 1_000, None, day="2039-12-31", time_ms=2**41)
    checkpoint = Checkpoint(ORIGIN, TreeHead(2**power, bytes(32))).signed_by(KEY)
    path = tuple(bytes([n]) * 32 for n in range(power))
    receipt = replace(RECEIPTS[5], leaf=leaf, index=2**power - 1, path=path, checkpoint=checkpoint)
    assert len(receipt.encode()) < 2048
