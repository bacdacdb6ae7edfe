"""Following a log: what an agent, an owner's tool or a receiver remembers of it, and how it judges the next head.

Law: the largest head that was ever shown stays the measure. A log may only be shown to have grown from it; what is
smaller, or of the same size with another root, or larger without what was seen, is never taken for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from carnet.ack import Ack
from carnet.errors import LedgerError
from carnet.ledger.merkle import EMPTY, TreeHead
from carnet.ledger.proof import Path, verify_consistency


class Verdict(StrEnum):
    """What a head is, beside the largest one that was seen."""

    FIRST = "first"
    SAME = "same"
    GROWN = "grown"
    OLDER = "older"
    UNPROVEN = "unproven"
    SHRUNK = "shrunk"
    FORKED = "forked"


SENTENCES: Final = {
    Verdict.FIRST: "the first head of this log that was seen here: there is nothing to compare it with",
    Verdict.SAME: "the head that was seen before",
    Verdict.GROWN: "the log has grown, and what was seen before is proven to be its beginning",
    Verdict.OLDER: "an older head, proven to be the beginning of what was seen before",
    Verdict.UNPROVEN: "the log says that it has grown, without a proof: ask for one",
    Verdict.SHRUNK: "the log is smaller than it was: it was cut, restored from a backup, or this head is an old one",
    Verdict.FORKED: "the log has another history than the one that was seen here: it was rewritten, or shows different"
    " people different logs",
}
"""What each verdict means, for people."""

CONSISTENT: Final = frozenset({Verdict.FIRST, Verdict.SAME, Verdict.GROWN, Verdict.OLDER})
"""Verdicts under which the new head and all that was seen before are one log."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``seen`` is what to remember from now on: the new head only if it was shown to be the larger one of one log."""

    verdict: Verdict
    seen: TreeHead

    @property
    def consistent(self) -> bool:
        return self.verdict in CONSISTENT


def judge(seen: TreeHead, told: TreeHead, path: Path | None = None) -> Judgement:
    """The new head ``told`` beside the largest ``seen`` (`EMPTY` at first); ``path`` proves the smaller in the larger.

    Whether ``told`` is the log's word at all, by signature, is judged before.
    """
    if told.size == seen.size:
        return Judgement(Verdict.SAME if told == seen else Verdict.FORKED, seen)
    if seen.size == 0:
        return Judgement(Verdict.FIRST, told)
    if told.size < seen.size:
        return Judgement(_proven(told, seen, path, Verdict.OLDER, otherwise=Verdict.SHRUNK), seen)
    verdict = _proven(seen, told, path, Verdict.GROWN, otherwise=Verdict.UNPROVEN)
    return Judgement(verdict, told if verdict is Verdict.GROWN else seen)


def head_of(ack: Ack) -> TreeHead:
    """The head that an acknowledgement names; `EMPTY` while the cloud keeps no log."""
    return TreeHead(ack.log_size, ack.log_root) if ack.log_size else EMPTY


def _proven(smaller: TreeHead, larger: TreeHead, path: Path | None, proven: Verdict, otherwise: Verdict) -> Verdict:
    """A log that gives a proof which does not hold has none: it has forked."""
    if path is None or smaller.size == 0:
        return otherwise
    try:
        verify_consistency(smaller, larger, path)
    except LedgerError:
        return Verdict.FORKED
    return proven
