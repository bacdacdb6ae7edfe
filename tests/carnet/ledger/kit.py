"""A log for tests, kept in memory: leaves in, receipts and proofs out. Nothing random: a salt is its index."""

from __future__ import annotations

from typing import Any

from carnet.keys import SigningKey
from carnet.ledger.account import Account, Count
from carnet.ledger.checkpoint import Checkpoint
from carnet.ledger.leaf import ConsentLeaf, Leaf, LogLeaf, salted_hash
from carnet.ledger.merkle import Frontier, Node, TreeHead, stored_head
from carnet.ledger.proof import consistency_path, inclusion_path
from carnet.ledger.receipt import Receipt
from carnet.ledger.signednote import NoteKey
from carnet.states import EventKind, State
from tests.consentkit import DAY_MS, GIVEN_MS, RECIPIENT, RECORD_ID, TENANT

ORIGIN = f"carnet.example/log/{TENANT}"
KEY, OTHER_KEY = (SigningKey.from_seed(bytes([n]) * 32) for n in (0x44, 0x55))
NOTE_KEY, OTHER_NOTE_KEY = NoteKey(ORIGIN, KEY.public), NoteKey(ORIGIN, OTHER_KEY.public)
WITNESS = "witness.example/w1"
ENTRY = "ab" * 32
LAST_EVENT = "cd" * 16


class Log:
    """The cloud's log in a dictionary, as its store keeps it in a table."""

    def __init__(self, *leaves: Leaf) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.frontier = Frontier()
        self.leaves: list[Leaf] = []
        self.reads = 0
        for leaf in leaves:
            self.add(leaf)

    def add(self, leaf: Leaf) -> None:
        self.add_hash(salted_hash(leaf, salt_of(len(self.leaves))))
        self.leaves.append(leaf)

    def add_hash(self, leaf: bytes) -> tuple[Node, ...]:
        self.frontier, made = self.frontier.append(leaf)
        self.nodes.update({(node.level, node.index): node.hash for node in made})
        return made

    def hash_of(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self.nodes[level, index]

    @property
    def size(self) -> int:
        return self.frontier.size

    def head(self, size: int | None = None) -> TreeHead:
        return stored_head(self.size if size is None else size, self.hash_of)

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        return inclusion_path(index, size, self.hash_of)

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        return consistency_path(first, second, self.hash_of)

    def checkpoint(self, size: int | None = None, key: SigningKey = KEY, origin: str = ORIGIN) -> str:
        return Checkpoint(origin, self.head(size)).signed_by(key)

    def receipt(self, index: int, size: int | None = None) -> Receipt:
        size = self.size if size is None else size
        path = self.inclusion(index, size)
        return Receipt(self.leaves[index], salt_of(index), index, path, self.checkpoint(size))


def salt_of(index: int) -> bytes:
    """Never so outside of tests: a salt is random."""
    return index.to_bytes(2, "big") * 8


def hashed(size: int, mark: bytes = b"") -> Log:
    """A log of so many leaves without documents; ``mark`` makes another one."""
    log = Log()
    for index in range(size):
        log.add_hash(salted_hash(consent(seq=index + 1, event=EventKind.RENEW), (mark + bytes(16))[:16]))
    return log


def log_leaf(**changes: Any) -> LogLeaf:
    """The first leaf."""
    return LogLeaf(**{"origin": ORIGIN, "tenant": TENANT, "time_ms": GIVEN_MS - 1, **changes})


def consent(**changes: Any) -> ConsentLeaf:
    """A record that was given, or with ``event`` another entry of it."""
    leaf: dict[str, Any] = {
        "record": RECORD_ID,
        "recipient": RECIPIENT,
        "seq": 0,
        "event": EventKind.GIVE,
        "entry": ENTRY,
        "state": State.GIVEN,
        "generation": 1,
        "time_ms": GIVEN_MS,
    }
    return ConsentLeaf(**leaf | changes)


def account(number: int, events: int, unknown: int = 0, ended: State | None = None, **changes: Any) -> Account:
    """What stood when the day ``number`` was over, or at an end twelve hours later; ten samples an event."""
    time_ms = GIVEN_MS // DAY_MS * DAY_MS + number * DAY_MS + (DAY_MS // 2 if ended else 1)
    leaf: dict[str, Any] = {
        "record": RECORD_ID,
        "recipient": RECIPIENT,
        "number": number,
        "confirmed": Count(events, 10 * events),
        "unknown": Count(unknown, 10 * unknown),
        "last_event": LAST_EVENT if events + unknown else "",
        "time_ms": time_ms,
        "day": "" if ended else f"2025-10-{8 + number:02}",
        "ended": ended,
    }
    return Account(**leaf | changes)


def story() -> Log:
    """A consent that was given, used for two days, withdrawn, and whose last delivery was confirmed late."""
    end = account(3, 10, 2, State.WITHDRAWING)
    return Log(
        log_leaf(),
        consent(),
        account(1, 5),
        account(2, 9, 1),
        consent(seq=1, event=EventKind.WITHDRAW, state=end.ended, generation=2, time_ms=end.time_ms),
        end,
        consent(seq=2, event=EventKind.SILENT, state=State.WITHDRAWN, generation=3, time_ms=end.time_ms + 300),
        account(4, 12),
    )
