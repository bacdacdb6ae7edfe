"""A recipient asks for its events once more, from one of them on, while the offer's replay window keeps them.

Law: there is no second way out. What may go again is put back into the outbox and goes its way from there: judged in
the transaction that leases it, sealed under its record's key, under its own id. What may not is told with its reason,
so that the report adds up: asked = sent + waiting + blocked + destroyed + refused + unknown. Nobody who withdraws waits
for a question to be judged: the verdict only says why, and what a narrowing has destroyed meanwhile stays destroyed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from carnet.errors import ConsentError, FormatError, UnavailableError
from carnet_cloud.gate import Standing, may_send
from carnet_cloud.store import Store, Transaction
from carnet_cloud.store.replays import Done, Question

AT_ONCE_MAX = 500
"""Events of one question; ``next`` names the first one beyond. They are written down in one transaction."""
JUDGED_AT_ONCE = 64
"""Records; between them whoever withdraws comes in."""
EVENT_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
BLOCKED = "blocked_"


@dataclass(frozen=True, slots=True)
class Report:
    """Of the last question. ``blocked``: by the gate's words; ``first`` and ``next`` are event ids."""

    recipient: str
    first: str
    asked_ms: int
    asked: int
    sent: int
    waiting: int
    blocked: dict[str, int]
    destroyed: int
    refused: int
    unknown: int
    next: str


class Replaying:
    """``standing`` is how the cloud stands to a record, in the transaction that asks."""

    def __init__(
        self, store: Store, standing: Callable[[Transaction, str], Standing | None], now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._standing = standing
        self._now_ms = now_ms

    def ask(self, recipient: str, first: str) -> Report:
        """Send again what this recipient has had, from the event ``first`` on (itself too).

        FormatError ``cursor_malformed``, ConsentError ``cursor_unknown`` (also for another recipient's event),
        UnavailableError ``replay_running`` while the last question is not done.
        """
        if not EVENT_ID.fullmatch(first):
            raise FormatError("cursor_malformed", "an event id is 32 hexadecimal digits, as in the event's id")
        name = bytes.fromhex(first)
        verdicts = self._judge(self._records(recipient, name))
        now_ms = self._now_ms()
        with self._store.transaction() as t:
            # nobody else asks for this recipient, or sends what is asked for before it is written down
            t.others.forward(recipient)
            _require_done(t, recipient)
            # and nobody narrows, or the two could wait for one another's rows
            t.others.keep_records(verdicts)
            found = t.replays.done_from(recipient, name, now_ms, AT_ONCE_MAX + 1) or []
            # one of a record that was not judged came to its end just now; it waits for the next question
            found = [event for event in found if event.record in verdicts]
            chosen, beyond = found[:AT_ONCE_MAX], found[AT_ONCE_MAX:]
            question = Question(name, now_ms, beyond[0].event_id if beyond else b"")
            t.replays.ask(recipient, question, [(event, _kept(event, verdicts[event.record])) for event in chosen])
            t.counters.add("replay_asked", len(chosen))
            return _report(t, recipient, question)

    def report(self, recipient: str) -> Report:
        """What has become of the last question; ConsentError ``replay_unknown`` if there was none."""
        with self._store.transaction() as t:
            question = t.replays.question(recipient)
            if question is None:
                raise ConsentError("replay_unknown", "this recipient has not asked for a replay")
            return _report(t, recipient, question)

    def _records(self, recipient: str, first: bytes) -> list[str]:
        """Whose events are asked for."""
        with self._store.transaction() as t:
            _require_done(t, recipient)
            found = t.replays.done_from(recipient, first, self._now_ms(), AT_ONCE_MAX + 1)
        if found is None:
            raise ConsentError("cursor_unknown", "no event of this id was ever made for this recipient")
        return sorted({event.record for event in found})

    def _judge(self, records: list[str]) -> dict[str, str]:
        """For every record the word for what keeps its events; empty if nothing does."""
        verdicts: dict[str, str] = {}
        for begin in range(0, len(records), JUDGED_AT_ONCE):
            with self._store.transaction() as t:
                for record in records[begin : begin + JUDGED_AT_ONCE]:
                    blocked = may_send(self._standing(t, record), self._now_ms())
                    verdicts[record] = f"{BLOCKED}{blocked.value}" if blocked else ""
        return verdicts


def end_windows(t: Transaction, now_ms: int, limit: int) -> int:
    """Destroy what is kept although its window has ended, at most ``limit`` of what is done and of what was asked for;
    how many events that were.

    While nobody narrows or asks: two who change the same rows in different orders would wait for one another.
    """
    over = t.replays.windows_over(now_ms, limit)
    t.others.change_records(set(over.values()))
    t.replays.end_windows(over, now_ms)
    return len(over)


def _require_done(t: Transaction, recipient: str) -> None:
    if t.replays.outcomes(recipient).get("waiting"):
        raise UnavailableError("replay_running", "the last replay is not done yet: ask for its report")


def _kept(event: Done, verdict: str) -> str:
    if event.state == "refused":
        # for good, said the recipient
        return "refused"
    return verdict or ("" if event.is_kept else "destroyed")


def _report(t: Transaction, recipient: str, question: Question) -> Report:
    found = t.replays.outcomes(recipient)
    blocked = {word.removeprefix(BLOCKED): count for word, count in found.items() if word.startswith(BLOCKED)}
    told = {word: found.get(word, 0) for word in ("sent", "waiting", "destroyed", "refused", "unknown")}
    return Report(
        recipient=recipient,
        first=question.first.hex(),
        asked_ms=question.asked_ms,
        asked=sum(found.values()),
        blocked=blocked,
        next=question.next.hex(),
        **told,
    )
