"""Makes ``ledger/*.json`` beside this file, byte for byte the same every time.

Run it after a change of the documents: ``python -m tests.vectors.make_ledger_vectors``. A test compares its output with
the files. Every vector says in one word what must become of it: ``accepted``, a verdict, or the reason of the refusal.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nacl.bindings as sodium

from carnet import canonical
from carnet.keys import SigningKey
from carnet.ledger.account import Account, Count
from carnet.ledger.checkpoint import Checkpoint
from carnet.ledger.follow import Verdict
from carnet.ledger.merkle import EMPTY, TreeHead
from carnet.ledger.receipt import Receipt
from carnet.ledger.signednote import NoteKey, encode64
from carnet.states import EventKind, State
from tests.carnet.ledger.kit import (
    KEY,
    NOTE_KEY,
    ORIGIN,
    OTHER_KEY,
    OTHER_NOTE_KEY,
    WITNESS,
    Log,
    account,
    consent,
    hashed,
    log_leaf,
    salt_of,
    story,
)
from tests.consentkit import OTHER_RECORD_ID, VEHICLE

FOLDER = Path(__file__).parent / "ledger"
Vector = dict[str, Any]
Change = Callable[[dict[str, Any]], object]
STORY = story()
END = State.WITHDRAWING
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


def inclusion_vectors() -> list[Vector]:
    """Leaf hash, index, size, root and path as hexadecimal; of a log of 13 leaves."""
    log = hashed(13)

    def row(name: str, outcome: str, index: int = 6, **changes: Any) -> Vector:
        head = log.head()
        path = [each.hex() for each in log.inclusion(index, log.size)]
        vector = {"leaf": log.nodes[0, index].hex(), "index": index, "size": 13, "root": head.root.hex(), "path": path}
        return {"name": name, "outcome": outcome, **vector, **changes}

    path = [each.hex() for each in log.inclusion(6, 13)]
    zeros = "00" * 32
    return [
        *(row(f"leaf {index} of 13", "accepted", index) for index in range(13)),
        row("index out of range", "proof_index", index=12) | {"index": 13},
        row("size 0", "proof_index", size=0, root=EMPTY.root.hex()),
        row("another index", "proof_root") | {"index": 7},
        row("another leaf", "proof_root", leaf=log.nodes[0, 7].hex()),
        row("another root", "proof_root", root=log.head(12).root.hex()),
        row("proof too long", "proof_length", path=[*path, zeros]),
        row("proof too short", "proof_length", path=path[:-1]),
        row("no proof", "proof_length", path=[]),
        row("two hashes exchanged", "proof_root", path=[path[1], path[0], *path[2:]]),
        row("a hash of 31 bytes", "proof_malformed", path=[path[0][:-2], *path[1:]]),
    ]


def consistency_vectors() -> list[Vector]:
    """Two heads and a path; of a log of 13 leaves, and of another with the same size."""
    log, other = hashed(13), hashed(13, b"another history")

    def row(name: str, outcome: str, first: TreeHead, second: TreeHead, path: tuple[bytes, ...]) -> Vector:
        heads = {"first": _head(first), "second": _head(second)}
        return {"name": name, "outcome": outcome, **heads, "path": [each.hex() for each in path]}

    def good(first: int) -> Vector:
        return row(f"{first} to 13", "accepted", log.head(first), log.head(), log.consistency(first, 13))

    path, zeros = log.consistency(6, 13), bytes(32)
    return [
        *(good(first) for first in range(14)),
        row("shrunk", "proof_sizes", log.head(), log.head(6), path),
        row("rewritten, with the proof of what it was", "proof_root", log.head(6), other.head(), path),
        row("rewritten, with its own proof", "proof_root", log.head(6), other.head(), other.consistency(6, 13)),
        row("forked", "proof_root", log.head(), other.head(), ()),
        row("proof too long", "proof_length", log.head(6), log.head(), (*path, zeros)),
        row("proof too short", "proof_length", log.head(6), log.head(), path[:-1]),
        row("no proof", "proof_length", log.head(6), log.head(), ()),
        row("no proof from a power of two", "proof_length", log.head(8), log.head(), ()),
        row("a proof where none is", "proof_length", log.head(), log.head(), (zeros,)),
        row("a proof from size 0", "proof_length", EMPTY, log.head(), (zeros,)),
        row("a hash of 33 bytes", "proof_malformed", log.head(6), log.head(), (*path[:-1], path[-1] + b"x")),
    ]


def follow_vectors() -> list[Vector]:
    """The largest head that was seen, the one that is told, and a proof or none."""
    log, other = hashed(13), hashed(13, b"another history")

    def row(name: str, verdict: Verdict, seen: TreeHead, told: TreeHead, path: tuple[bytes, ...] | None) -> Vector:
        proof = None if path is None else [each.hex() for each in path]
        return {"name": name, "outcome": verdict.value, "seen": _head(seen), "told": _head(told), "path": proof}

    path = log.consistency(6, 13)
    return [
        row("the first head", Verdict.FIRST, EMPTY, log.head(6), None),
        row("no log yet", Verdict.SAME, EMPTY, EMPTY, None),
        row("the same again", Verdict.SAME, log.head(6), log.head(6), None),
        row("grown", Verdict.GROWN, log.head(6), log.head(), path),
        row("an older one", Verdict.OLDER, log.head(), log.head(6), path),
        row("grown without a proof", Verdict.UNPROVEN, log.head(6), log.head(), None),
        row("truncated", Verdict.SHRUNK, log.head(), log.head(6), None),
        row("empty again", Verdict.SHRUNK, log.head(), EMPTY, ()),
        row("forked", Verdict.FORKED, log.head(), other.head(), None),
        row("rewritten and grown", Verdict.FORKED, log.head(6), other.head(), other.consistency(6, 13)),
        row("rewritten and truncated", Verdict.FORKED, log.head(), other.head(6), other.consistency(6, 13)),
        row("grown with half a proof", Verdict.FORKED, log.head(6), log.head(), path[:-1]),
    ]


def _head(head: TreeHead) -> Vector:
    return {"size": head.size, "root": head.root.hex()}


def line(name: str, key: SigningKey, text: str, extra: bytes = b"", cut: int = 64) -> str:
    """A signature line, made by hand."""
    signature = sodium.crypto_sign(text.encode(), key.secret)[:cut]
    return f"\u2014 {name} {encode64(NoteKey(name, key.public).id + signature + extra)}\n"


def checkpoint_vectors() -> list[Vector]:
    """Notes; the keys that the reader knows stand at the head of the file."""
    head = STORY.head()
    text = Checkpoint(ORIGIN, head).text()
    root = encode64(head.root)
    own, witness = line(ORIGIN, KEY, text), line(WITNESS, OTHER_KEY, text)
    good = f"{text}\n{own}"
    spoilt = f"{own[:-3]}{BASE64[BASE64.index(own[-3]) + 1]}=\n"

    def signed(other: str) -> str:
        return f"{other}\n{line(ORIGIN, KEY, other)}"

    whole = line(ORIGIN, KEY, f"first line\n{text}", b"first line\n")
    rows = [
        ("the example", good, "accepted"),
        ("size 0", Checkpoint(ORIGIN, EMPTY).signed_by(KEY), "accepted"),
        ("a second line by a witness", good + witness, "accepted"),
        ("a witness before it", f"{text}\n{witness}{own}", "accepted"),
        ("a line of a kind that nobody knows", f"{good}\u2014 {WITNESS} {encode64(bytes(2424))}\n", "accepted"),
        ("the same line twice", good + own, "accepted"),
        ("sixteen lines", good + witness * 15, "accepted"),
        ("seventeen lines", good + witness * 16, "note_format"),
        ("a key that is not the log's", f"{text}\n{line(ORIGIN, OTHER_KEY, text)}", "note_unsigned"),
        ("only a witness", f"{text}\n{witness}", "note_unsigned"),
        ("wrong origin", Checkpoint("carnet.example/other", head).signed_by(KEY), "checkpoint_origin"),
        ("the log's name with a witness's signature", f"{text}\n{line('carnet', KEY, text)}", "note_unsigned"),
        ("a signature of another text", f"{text}\n{line(ORIGIN, KEY, text + 'x')}", "note_signature"),
        ("a right line and a wrong one", f"{good}{line(ORIGIN, KEY, text + 'x')}", "note_signature"),
        ("a short signature", f"{text}\n{line(ORIGIN, KEY, text, cut=63)}", "note_signature"),
        ("a long signature with the beginning of the text", f"{text}\n{whole}", "note_signature"),
        ("no signature", f"{text}\n", "note_format"),
        ("no line feed at the end", good[:-1], "note_format"),
        ("no empty line", text + own, "note_format"),
        ("a hyphen for the dash", good.replace("\u2014", "-"), "note_format"),
        ("two blanks", good.replace(f"{ORIGIN} ", f"{ORIGIN}  "), "note_format"),
        ("a carriage return", good.replace("\n", "\r\n"), "note_format"),
        ("non-canonical base64 in the signature", good.replace(own, spoilt), "note_format"),
        ("base64url in the signature", f"{text}\n\u2014 {ORIGIN} ____\n", "note_format"),
        ("a key id alone", f"{text}\n\u2014 {ORIGIN} {encode64(NOTE_KEY.id)}\n", "note_format"),
        (
            "non-canonical base64 in the root",
            signed(f"{ORIGIN}\n8\n{root[:-2]}{BASE64[BASE64.index(root[-2]) + 1]}=\n"),
            "checkpoint_malformed",
        ),
        ("a root without padding", signed(f"{ORIGIN}\n8\n{root[:-1]}\n"), "checkpoint_malformed"),
        ("a root of 31 bytes", signed(f"{ORIGIN}\n8\n{encode64(bytes(31))}\n"), "checkpoint_malformed"),
        ("size 0 with a root", signed(f"{ORIGIN}\n0\n{root}\n"), "checkpoint_malformed"),
        ("a leading zero", signed(f"{ORIGIN}\n08\n{root}\n"), "checkpoint_malformed"),
        ("a negative size", signed(f"{ORIGIN}\n-8\n{root}\n"), "checkpoint_malformed"),
        ("size 2^53", signed(f"{ORIGIN}\n9007199254740992\n{root}\n"), "checkpoint_malformed"),
        ("an extension line", signed(f"{text}more\n"), "checkpoint_malformed"),
        ("two lines", signed(f"{ORIGIN}\n8\n"), "checkpoint_malformed"),
        ("an empty name", signed(f"\n8\n{root}\n"), "checkpoint_malformed"),
        ("a name in upper case", signed(f"{ORIGIN.upper()}\n8\n{root}\n"), "checkpoint_malformed"),
    ]
    return [{"name": name, "outcome": outcome, "note": note} for name, note, outcome in rows]


def receipt_vectors() -> list[Vector]:
    """Receipts as text, of a log of eight leaves."""
    receipts = [STORY.receipt(index) for index in range(STORY.size)]
    vectors = [_receipt(f"leaf {index}: {each.leaf.document()['kind']}", each) for index, each in enumerate(receipts)]
    vectors += [
        _receipt("the only leaf of a log", Log(log_leaf()).receipt(0)),
        _receipt("a head from before", STORY.receipt(2, 3)),
        _receipt("another log's first leaf", Log(log_leaf(origin="carnet.example/x")).receipt(0), "receipt_first"),
        _receipt("a log that begins with a consent", Log(consent()).receipt(0), "receipt_first"),
        _receipt("a first leaf in the middle", Log(log_leaf(), log_leaf()).receipt(1), "receipt_first"),
        _receipt("a forked log's checkpoint", replace(receipts[5], checkpoint=_forked().checkpoint()), "proof_root"),
        _receipt("a rewritten leaf", replace(receipts[5], leaf=account(3, 10, 1, END)), "proof_root"),
        _receipt("the salt of another leaf", replace(receipts[5], salt=salt_of(4)), "proof_root"),
        _receipt("another place", replace(receipts[5], index=4), "proof_root"),
        _receipt("index out of range", replace(receipts[5], index=8), "proof_index"),
        _receipt("a truncated log's checkpoint", replace(receipts[5], checkpoint=STORY.checkpoint(5)), "proof_index"),
        _receipt("size 0", replace(receipts[5], checkpoint=Checkpoint(ORIGIN, EMPTY).signed_by(KEY)), "proof_index"),
        _receipt("proof too short", replace(receipts[5], path=receipts[5].path[:-1]), "proof_length"),
        _receipt("proof too long", replace(receipts[5], path=(*receipts[5].path, bytes(32))), "proof_length"),
        _receipt("wrong key", replace(receipts[5], checkpoint=STORY.checkpoint(key=OTHER_KEY)), "note_unsigned"),
        _receipt("wrong origin", replace(receipts[5], checkpoint=_elsewhere()), "checkpoint_origin"),
        _receipt("a witness's line, too", replace(receipts[5], checkpoint=_witnessed())),
    ]
    return vectors + [_changed(*each) for each in _receipt_changes()] + _spelled(receipts[5].encode().decode())


def _receipt(name: str, receipt: Receipt, outcome: str = "accepted") -> Vector:
    return {"name": name, "outcome": outcome, "receipt": receipt.encode().decode()}


def _forked() -> Log:
    return Log(*STORY.leaves[:7], account(4, 11, 1))


def _elsewhere() -> str:
    return STORY.checkpoint(origin="carnet.example/other")


def _witnessed() -> str:
    return STORY.checkpoint() + line(WITNESS, OTHER_KEY, Checkpoint(ORIGIN, STORY.head()).text())


def _receipt_changes() -> list[tuple[str, Change, str]]:
    """What is changed in the receipt of the end, at index 5."""
    return [
        ("another version", lambda r: r.update(v=2), "receipt_malformed"),
        ("true as the version", lambda r: r.update(v=True), "receipt_malformed"),
        ("another type", lambda r: r.update(type="record"), "receipt_malformed"),
        ("a key that it brings along", lambda r: r.update(key=OTHER_NOTE_KEY.text()), "receipt_malformed"),
        ("no salt", lambda r: r.update(salt=""), "receipt_malformed"),
        ("a salt of 15 bytes", lambda r: r.update(salt="A" * 20), "receipt_malformed"),
        ("a salt with spare bits", lambda r: r.update(salt="A" * 21 + "B"), "receipt_malformed"),
        ("a salt in base64 with padding", lambda r: r.update(salt=r["salt"] + "=="), "receipt_malformed"),
        ("half a hash", lambda r: r.update(proof="A" * 22), "receipt_malformed"),
        ("54 hashes", lambda r: r.update(proof="A" * 2304), "receipt_malformed"),
        ("a list of hashes", lambda r: r.update(proof=[r["proof"]]), "receipt_malformed"),
        ("index -1", lambda r: r.update(index=-1), "receipt_malformed"),
        ("an index as text", lambda r: r.update(index="5"), "receipt_malformed"),
        ("no checkpoint", lambda r: r.pop("checkpoint"), "receipt_malformed"),
        ("an empty checkpoint", lambda r: r.update(checkpoint=""), "note_format"),
        ("a leaf that is a list", lambda r: r.update(leaf=[]), "leaf_malformed"),
        ("a kind of leaf that does not exist", lambda r: r["leaf"].update(kind="sale"), "leaf_malformed"),
        ("a kind that every object has", lambda r: r["leaf"].update(kind="constructor"), "leaf_malformed"),
        ("a leaf with a vehicle", lambda r: r["leaf"].update(vehicle=VEHICLE), "leaf_malformed"),
        ("an end that is none", lambda r: r["leaf"].update(state="suspended"), "leaf_malformed"),
        ("an account without its last event", lambda r: r["leaf"].update(last_event=""), "leaf_malformed"),
        ("samples without events", lambda r: r["leaf"]["unknown"].update(events=0), "leaf_malformed"),
        ("account number 0", lambda r: r["leaf"].update(number=0), "leaf_malformed"),
        ("a day that was not over", _day("2025-10-12"), "leaf_malformed"),
        ("a day that no calendar has", _day("2025-02-29"), "leaf_malformed"),
        ("an entry that gives twice", _consent(seq=1), "leaf_malformed"),
        ("a withdrawal after which it is given", _consent(seq=1, event=EventKind.WITHDRAW), "leaf_malformed"),
        ("an expiry as an entry", _consent(seq=1, event=EventKind.EXPIRE, state=State.EXPIRED), "leaf_malformed"),
    ]


def _day(day: str) -> Change:
    leaf = account(3, 10).document() | {"day": day}
    return lambda r: r.update(leaf=leaf | {"time_ms": r["leaf"]["time_ms"]})


def _consent(**changes: Any) -> Change:
    return lambda r: r.update(leaf=consent(**changes).document())


def _changed(name: str, change: Change, outcome: str) -> Vector:
    document = json.loads(STORY.receipt(5).encode())
    change(document)
    return {"name": name, "outcome": outcome, "receipt": canonical.encode(document).decode()}


def _spelled(text: str) -> list[Vector]:
    """The same receipt in other bytes."""
    rows = [
        ("a blank", text.replace('"v":1', '"v": 1'), "json_not_canonical"),
        ("a line feed at the end", text + "\n", "json_not_canonical"),
        ("an escape without need", text.replace("\u2014", "\\u2014"), "json_not_canonical"),
        ("a member twice", text.replace('"index":5', '"index":5,"index":5'), "json_duplicate_key"),
        ("a float", text.replace('"index":5', '"index":5.0'), "json_number"),
        ("index 2^53", text.replace('"index":5', '"index":9007199254740992'), "json_number"),
        ("half a surrogate pair", text.replace("\u2014", "\\ud800"), "json_malformed"),
        ("cut off", text[:-1], "json_malformed"),
        ("nothing", "", "json_malformed"),
    ]
    assert len({receipt for _, receipt, _ in rows} - {text}) == len(rows)
    return [{"name": name, "outcome": outcome, "receipt": receipt} for name, receipt, outcome in rows]


def account_vectors() -> list[Vector]:
    """Accounts with their index in the log, as the receipts of one record would show them."""
    end = account(2, 9, 1, END)
    rows: list[tuple[str, list[Account], str]] = [
        ("the story: nothing after the end", [account(1, 5), end, account(3, 10)], "accepted"),
        ("one that is missing", [account(1, 5), account(3, 10)], "account_gap"),
        ("two with one number", [account(1, 5), account(1, 6)], "account_gap"),
        ("another record's", [account(1, 5), account(2, 9, record=OTHER_RECORD_ID)], "account_other"),
        ("the same day again", [account(1, 5), account(2, 9, day=account(1, 5).day)], "account_order"),
        ("less than before", [account(1, 5), account(2, 4)], "account_falls"),
        ("confirmed, and then unknown", [account(1, 5), account(2, 4, 1)], "account_falls"),
        ("an event after the end", [account(1, 5), end, account(3, 10, 1)], "account_after_end"),
        ("a sample after the end", [end, account(3, 10, confirmed=Count(10, 101))], "account_after_end"),
        ("a second end", [end, account(3, 9, 1, State.EXPIRED)], "account_after_end"),
    ]
    return [
        {
            "name": name,
            "outcome": outcome,
            "accounts": [[9 * at + 2, one.document()] for at, one in enumerate(accounts)],
        }
        for name, accounts, outcome in rows
    ]


def make() -> dict[str, str]:
    """File name -> content."""
    documents: dict[str, dict[str, Any]] = {
        "inclusion.json": {"vectors": inclusion_vectors()},
        "consistency.json": {"vectors": consistency_vectors()},
        "follow.json": {"vectors": follow_vectors()},
        "checkpoints.json": {"keys": [NOTE_KEY.text()], "vectors": checkpoint_vectors()},
        "receipts.json": {"keys": [NOTE_KEY.text()], "vectors": receipt_vectors()},
        "accounts.json": {"vectors": account_vectors()},
    }
    return {name: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for name, content in documents.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in make().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
