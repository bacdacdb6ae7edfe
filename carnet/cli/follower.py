"""Following the logs of a cloud: a pinned key for each, the largest head ever shown, and how the next one stands to it.

Law: a log is judged by the key and the head that were kept before, never by what the cloud says of itself now; and
where the owner gave keys, by these alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from carnet import canonical
from carnet.cli.kept import Kept
from carnet.errors import FormatError, LedgerError, RemoteError
from carnet.jws import base64url_bytes
from carnet.ledger.checkpoint import verify_checkpoint
from carnet.ledger.follow import SENTENCES, Verdict, judge
from carnet.ledger.merkle import EMPTY, HASH_BYTES, TreeHead
from carnet.ledger.receipt import PATH_MAX
from carnet.ledger.signednote import NoteKey, parse_note_key, split_note

ASK_AGAIN: Final = "proof_sizes"
"""What a cloud answers whose log is smaller than the one that is asked for."""

Ask = Callable[[str, int, int | None], dict[str, Any]]
"""Name of the log, first and second size -> what ``GET /v1/log`` answers."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two heads that are no one log: ``seen`` and ``told`` are signed notes."""

    origin: str
    key: str
    verdict: Verdict
    seen: str
    told: str

    @property
    def sentence(self) -> str:
        return f"{self.origin}: {SENTENCES[self.verdict]}"

    def encode(self) -> bytes:
        """The evidence: whoever has the log's key can judge it, too."""
        return canonical.encode(
            {
                "key": self.key, "origin": self.origin, "seen": self.seen, "told": self.told, "type": "contradiction",
                "v": 1, "verdict": self.verdict.value,
            }
        )  # fmt: skip


class Contradicted(LedgerError):
    """The log has contradicted itself; ``evidence`` shows it."""

    def __init__(self, evidence: Contradiction) -> None:
        super().__init__(f"log_{evidence.verdict.value}", evidence.sentence)
        self.evidence = evidence


class Follower:
    """``given``: keys that the owner has from elsewhere, and if there is any, no other counts; ``warn`` gets a sentence
    for him.
    """

    def __init__(self, ask: Ask, kept: Kept, given: Iterable[NoteKey], warn: Callable[[str], None]) -> None:
        self._ask = ask
        self._kept = kept
        self._given = tuple(given)
        self._warn = warn

    def follow(self, origin: str, notes: Iterable[str]) -> tuple[NoteKey, ...]:
        """The keys of the log, once its newest head is shown to contain the largest that was kept and those of
        ``notes``. Raises Contradicted; LedgerError ``checkpoint_origin`` and ``log_key_other`` if the given keys are of
        another log or not the kept one; other RemoteErrors if a note is not the log's.
        """
        keys, note = self._known(origin)
        seen = verify_checkpoint(note, keys).head if note else EMPTY
        told, path = self._newest(origin, seen.size)
        newest = verify_checkpoint(told, keys).head
        judgement = judge(seen, newest, path)
        if not judgement.consistent:
            raise self._contradicted(origin, keys, judgement.verdict, note, told)
        for each in dict.fromkeys(notes):
            self._require_part(origin, keys, each, (newest, told))
        if judgement.seen != seen:
            self._kept.saw_log(origin, _signer(keys, told).text(), told)
        return keys

    def _known(self, origin: str) -> tuple[tuple[NoteKey, ...], str]:
        """Keys of the log and the note of the largest head; a key that nobody gave is taken over once, and said."""
        kept, note = self._kept.logs.get(origin, ("", ""))
        if self._given:
            return self._of_given(origin, kept), note
        if kept:
            return (parse_note_key(kept),), note
        key = parse_note_key(self._ask(origin, 0, None)["key"])
        if key.name != origin:
            raise FormatError("cloud_answer", "the cloud names a key of another log")
        self._warn(f"the log's key is taken as the cloud tells it; compare it with one from elsewhere: {key.text()}")
        return (key,), ""

    def _of_given(self, origin: str, kept: str) -> tuple[NoteKey, ...]:
        """Those of the given keys that are of this log; the kept one must be among them."""
        keys = tuple(key for key in self._given if key.name == origin)
        if not keys:
            names = ", ".join(sorted({key.name for key in self._given}))
            raise LedgerError(
                "checkpoint_origin", f"the cloud shows the log {origin}, and the key of --checkpoint-key is of {names}"
            )
        if kept and kept not in {key.text() for key in keys}:
            raise LedgerError(
                "log_key_other",
                f"the key kept for {origin}, {kept}, is none of the given ones: ask whoever gave you yours; if it is "
                "an earlier key of this log, name both with --checkpoint-key; if it never was one, you were shown "
                f"another log, and {self._kept.file} is the evidence",
            )
        return keys

    def _newest(self, origin: str, first: int) -> tuple[str, tuple[bytes, ...] | None]:
        """The newest note, and the proof from a log of ``first`` leaves on; None if the cloud has no such proof."""
        try:
            answer = self._ask(origin, first, None)
        except RemoteError as error:
            if error.reason != ASK_AGAIN:
                raise
            return self._ask(origin, 0, None)["checkpoint"], None
        return answer["checkpoint"], _hashes(answer["proof"])

    def _require_part(self, origin: str, keys: tuple[NoteKey, ...], note: str, newest: tuple[TreeHead, str]) -> None:
        """The head of a receipt is a beginning of the newest one."""
        head = verify_checkpoint(note, keys).head
        path = None
        if head.size < newest[0].size:
            path = _hashes(self._ask(origin, head.size, newest[0].size)["proof"])
        verdict = judge(head, newest[0], path).verdict
        if verdict not in {Verdict.SAME, Verdict.GROWN}:
            raise self._contradicted(origin, keys, verdict, note, newest[1])

    def _contradicted(
        self, origin: str, keys: tuple[NoteKey, ...], verdict: Verdict, seen: str, told: str
    ) -> Contradicted:
        return Contradicted(Contradiction(origin, _signer(keys, told).text(), verdict, seen, told))


def _signer(keys: tuple[NoteKey, ...], note: str) -> NoteKey:
    """Which of the keys signed a note that they have verified together."""
    names = {(name, blob[: len(keys[0].id)]) for name, blob in split_note(note)[1]}
    return next(key for key in keys if (key.name, key.id) in names)


def _hashes(text: str) -> tuple[bytes, ...]:
    proof = base64url_bytes(text) if text else b""
    if len(proof) % HASH_BYTES or len(proof) > 2 * PATH_MAX * HASH_BYTES:
        raise FormatError("cloud_answer", "the cloud's proof is not one")
    return tuple(proof[at : at + HASH_BYTES] for at in range(0, len(proof), HASH_BYTES))
