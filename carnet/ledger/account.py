"""Accounts: all that a recipient got under a record since it was given, as the cloud had it at one moment.

Law: an account only grows, the accounts of a record are numbered without a hole, and after the end of a consent its
total stands still. So one later account shows what happened since an earlier one, and "nothing after the end" is a
comparison of two numbers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from carnet import fields, ids
from carnet.errors import FormatError, LedgerError, LocalProtocolError
from carnet.refusals import DAY_MS, identity, integer, named_members
from carnet.states import ALIVE, TRANSITIONS, State

DAY, END = "day", "end"
ENDED: Final = tuple(after for (before, _), after in TRANSITIONS.items() if before in ALIVE and after not in ALIVE)
"""States in which a consent has just ended."""

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Count:
    """Deliveries, and the samples in them."""

    events: int
    samples: int

    def __add__(self, other: Count) -> Count:
        return Count(self.events + other.events, self.samples + other.samples)

    def covers(self, other: Count) -> bool:
        """Whether nothing of it is less than in the other one."""
        return self.events >= other.events and self.samples >= other.samples

    def document(self) -> dict[str, object]:
        return {"events": self.events, "samples": self.samples}


@dataclass(frozen=True, slots=True)
class Account:
    """What the store had in the transaction of ``time_ms``, when a day was over or the consent ended.

    Exactly one of ``day`` (2026-03-01, in UTC) and ``ended`` is set.

    ``confirmed``: what the recipient has acknowledged. ``unknown``: what was begun to be sent and never acknowledged.
    ``last_event`` is empty if there was none.
    """

    record: str
    recipient: str
    number: int
    confirmed: Count
    unknown: Count
    last_event: str
    time_ms: int
    day: str = ""
    ended: State | None = None

    def __post_init__(self) -> None:
        if (self.day == "") == (self.ended is None):
            raise LocalProtocolError("leaf_account", "an account is of the end of a day or of a consent")

    @property
    def total(self) -> Count:
        """What the recipient has or may have."""
        return self.confirmed + self.unknown

    def document(self) -> dict[str, object]:
        """The account as a document of canonical JSON."""
        return {
            "v": 1, "record": self.record, "recipient": self.recipient, "number": self.number,
            "confirmed": self.confirmed.document(), "unknown": self.unknown.document(),
            "last_event": self.last_event, "time_ms": self.time_ms,
            **({"kind": DAY, "day": self.day} if self.ended is None else {"kind": END, "state": self.ended.value}),
        }  # fmt: skip


def day_of(time_ms: int) -> str:
    """The day of this moment, in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()


def parse_account(value: object, kind: str) -> Account:
    """The account of this kind in a document; FormatError with the reason of whatever is wrong."""
    own = "day" if kind == DAY else "state"
    names = ("v", "kind", "record", "recipient", "number", "confirmed", "unknown", "last_event", "time_ms", own)
    named = named_members(value, *names)
    integer(named["v"], 1, 1)
    account = Account(
        record=identity(named["record"], ids.RECORD),
        recipient=identity(named["recipient"], ids.RECIPIENT),
        number=integer(named["number"], 1),
        confirmed=_count(named["confirmed"]),
        unknown=_count(named["unknown"]),
        last_event="" if named["last_event"] == "" else fields.hex_bytes(named["last_event"], 16).hex(),
        time_ms=fields.number(named["time_ms"]),
        day=fields.text(named["day"], _DAY) if kind == DAY else "",
        ended=State(fields.choice(named["state"], *ENDED)) if kind == END else None,
    )
    if (account.total.events == 0) != (account.last_event == ""):
        raise FormatError("body_malformed", "an account with events names the last one, one without names none")
    if account.day and account.time_ms < _midnight_ms(account.day) + DAY_MS:
        raise FormatError("body_malformed", "the account of a day was made before the day was over")
    return account


def judge_accounts(placed: Sequence[tuple[int, Account]]) -> None:
    """Return if these accounts (with their index in the log) are the whole story of one record, as the law has it.

    From the first given on: what is missing before it takes nothing away, for accounts are totals.
    LedgerError ``account_other``, ``account_gap``, ``account_order``, ``account_falls`` or ``account_after_end``.
    """
    ended: Account | None = None
    day = ""
    for (place, before), (next_place, after) in itertools.pairwise(placed):
        ended, day = before if before.ended else ended, before.day or day
        _judge_next(before, after)
        if next_place <= place or after.time_ms < before.time_ms or (after.day and after.day <= day):
            words = f"an account of {after.record} lies before the one that it follows, in the log or in time"
            raise LedgerError("account_order", words)
        if ended and (after.ended or after.total != ended.total):
            words = f"an account of {after.record} after the end of its consent has another total"
            raise LedgerError("account_after_end", words)


def _judge_next(before: Account, after: Account) -> None:
    if (before.record, before.recipient) != (after.record, after.recipient):
        raise LedgerError("account_other", "two accounts are of different records or recipients")
    if after.number != before.number + 1:
        raise LedgerError(
            "account_gap",
            f"an account of {before.record} is missing between two others, or is there twice: number {after.number} "
            f"follows number {before.number}",
        )
    if not after.total.covers(before.total) or not after.confirmed.covers(before.confirmed):
        raise LedgerError("account_falls", f"an account of {after.record} says less than the one before it")


def _count(value: object) -> Count:
    events, samples = fields.members(value, "events", "samples")
    count = Count(fields.number(events), fields.number(samples))
    if count.samples and not count.events:
        raise FormatError("body_malformed", "an account has samples without events")
    return count


def _midnight_ms(day: str) -> int:
    """When a day began."""
    try:
        return (date.fromisoformat(day) - _EPOCH).days * DAY_MS
    except ValueError:
        raise FormatError("body_malformed", "a day is not one of the calendar") from None
