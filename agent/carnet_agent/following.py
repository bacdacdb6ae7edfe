"""Following the cloud's log: the largest head that this unit was shown, and how each next one stands to it.

Law: a head is on disk before it is the measure. What contradicts it is kept as evidence, both words as they were
signed, and is never taken for the log.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol

from carnet import canonical
from carnet.ack import Ack
from carnet.growth import Growth
from carnet.ledger.follow import SENTENCES, Verdict, head_of, judge
from carnet.ledger.merkle import TreeHead
from carnet_agent.effects import Effect, Note

EVIDENCE_MAX: Final = 8
"""Contradictions that are kept: the first ones, for a liar could go on for ever."""


class Memory(Protocol):
    """What of it lies on disk."""

    log_head: TreeHead

    @property
    def log_word(self) -> bytes: ...

    @property
    def log_evidence(self) -> list[bytes]: ...

    def set_log(self, head: TreeHead, word: bytes) -> None: ...

    def add_log_evidence(self, evidence: bytes) -> None: ...


class Following:
    """``memory`` keeps the head, the signed word that told it, and the evidence."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.counters: Counter[str] = Counter()
        self.verdict = ""
        """The last one."""
        self._asked_size = 0

    @property
    def size(self) -> int:
        """The largest size that was shown, which every sealed box echoes."""
        return self._memory.log_head.size

    def status(self) -> dict[str, object]:
        """For ``carnet-agent status``."""
        return {"size": self.size, "verdict": self.verdict, "evidence": len(self._memory.log_evidence)}

    def asked(self) -> None:
        """A question is on its way: its answer can be no older than what we know by now."""
        self._asked_size = self.size

    def told(self, ack: Ack, word: bytes, *, fresh: bool) -> list[Effect]:
        """An acknowledgement, ``word`` being its message. Only the answer to our last question says what was when we
        asked: an older one may name a smaller log, and begins nothing, and neither does one that what came after it
        has overtaken.
        """
        head = head_of(ack)
        verdict = judge(self._memory.log_head, head).verdict
        if verdict is Verdict.SHRUNK and head.size >= self._asked_size:
            self.counters["log_answers_late"] += fresh
            return []
        if verdict is Verdict.UNPROVEN or (not fresh and verdict is not Verdict.FORKED):
            # the proof comes with the answer to a check-in
            return []
        return self._conclude(verdict, head, word)

    def grown(self, growth: Growth, word: bytes) -> list[Effect]:
        """A proof; one that begins with another head than ours is late or not for us."""
        seen = self._memory.log_head
        if growth.first != seen.size:
            self.counters["log_proofs_late"] += 1
            return []
        return self._conclude(judge(seen, growth.head, growth.path).verdict, growth.head, word)

    def _conclude(self, verdict: Verdict, head: TreeHead, word: bytes) -> list[Effect]:
        self.verdict = verdict.value
        if verdict in {Verdict.FIRST, Verdict.GROWN}:
            self._memory.set_log(head, word)
            self.counters["log_followed"] += 1
        if verdict not in {Verdict.FORKED, Verdict.SHRUNK}:
            return []
        self.counters[f"log_{verdict.value}"] += 1
        evidence = self._evidence(verdict, head, word)
        known = self._memory.log_evidence
        if len(known) >= EVIDENCE_MAX or any(_claim(each) == _claim(evidence) for each in known):
            return []
        self._memory.add_log_evidence(evidence)
        return [Note("warning", f"{SENTENCES[verdict]}; both heads are kept", "log_contradicts_itself", verdict.value)]

    def _evidence(self, verdict: Verdict, head: TreeHead, word: bytes) -> bytes:
        seen = self._memory.log_head
        return canonical.encode(
            {
                "verdict": verdict.value,
                "seen": {"size": seen.size, "root": seen.root.hex(), "word": self._memory.log_word.hex()},
                "told": {"size": head.size, "root": head.root.hex(), "word": word.hex()},
            }
        )


def _claim(evidence: bytes) -> tuple[object, ...]:
    """What it shows, whichever message said so."""
    document = canonical.parse(evidence, len(evidence))
    assert isinstance(document, dict)
    heads = [document["seen"], document["told"]]
    return (document["verdict"], *((head["size"], head["root"]) for head in heads))
