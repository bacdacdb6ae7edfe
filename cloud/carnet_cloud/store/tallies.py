"""What each record's recipient has got or may have got, in numbers, and of which days and ends there is an account.

Law: added to in the transaction that records an outcome, and never counted anew from what is stored; neither what is
confirmed nor the sum ever falls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from carnet.ledger.account import Count, day_of
from carnet_cloud.store.database import Database


@dataclass(frozen=True, slots=True)
class Tally:
    """``last_event`` is empty before the first. Of the accounts made so far: how many, and the time of the last (ms).
    ``day``: the earliest with an outcome and without an account; empty if there is none.
    """

    record: str
    recipient: str
    confirmed: Count
    unknown: Count
    last_event: bytes
    accounts: int = 0
    account_ms: int = 0
    day: str = ""


@dataclass(slots=True)
class _Change:
    recipient: str
    events: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)
    last: tuple[int, bytes] = (-1, b"")


class Changes:
    """What one transaction adds to the tallies of some records."""

    def __init__(self) -> None:
        self.of: dict[str, _Change] = {}

    def add(
        self, deliveries: Iterable[tuple[str, str, int, int, bytes]], *, confirmed: bool, were_unknown: bool = False
    ) -> None:
        """(record, recipient, samples, latest capture in ms, event) of deliveries that are told the same way now."""
        for record, recipient, samples, last_ms, event_id in deliveries:
            change = self.of.setdefault(record, _Change(recipient))
            change.last = max(change.last, (last_ms, bytes(event_id)))
            kind = "confirmed" if confirmed else "unknown"
            change.events[kind] += 1
            change.samples[kind] += samples
            if were_unknown:
                change.events["unknown"] -= 1
                change.samples["unknown"] -= samples


_TALLY = (
    "record, recipient, confirmed_events, confirmed_samples, unknown_events, unknown_samples, last_event, accounts,"
    " account_ms, day"
)


class Tallies:
    """One row a record, from its first outcome or its end on."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, changes: Changes, now_ms: int) -> None:
        """Outcomes of this day. A day is remembered until its account is made, and a later one behind it; should the
        clock go back, no day comes again.
        """
        day = day_of(now_ms)
        self._db.executemany(
            f"insert into tally ({_TALLY}, last_day) values (?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?)"
            " on conflict (record) do update set confirmed_events = tally.confirmed_events + excluded.confirmed_events,"
            " confirmed_samples = tally.confirmed_samples + excluded.confirmed_samples,"
            " unknown_events = tally.unknown_events + excluded.unknown_events,"
            " unknown_samples = tally.unknown_samples + excluded.unknown_samples, last_event = excluded.last_event,"
            " day = case when tally.day = '' and excluded.day > tally.last_day then excluded.day else tally.day end,"
            " last_day = case when excluded.day > tally.last_day then excluded.day else tally.last_day end",
            [
                (
                    record, one.recipient, one.events["confirmed"], one.samples["confirmed"], one.events["unknown"],
                    one.samples["unknown"], one.last[1], day, day,
                )
                for record, one in sorted(changes.of.items())
            ],
        )  # fmt: skip

    def doubt(self, deliveries: Iterable[tuple[str, str, int, int, bytes]], now_ms: int) -> None:
        """These are unknown from now on; as `Changes.add`."""
        changes = Changes()
        changes.add(deliveries, confirmed=False)
        self.add(changes, now_ms)

    def get(self, record: str, recipient: str) -> Tally:
        """Nothing at all before the first outcome."""
        row = self._db.execute(f"select {_TALLY} from tally where record = ?", (record,)).fetchone()
        return _tally(row) if row else Tally(record, recipient, Count(0, 0), Count(0, 0), b"")

    def days_over(self, today: str, limit: int) -> list[Tally]:
        """Those with a day before this one that has no account yet."""
        rows = self._db.execute(
            f"select {_TALLY} from tally where day <> '' and day < ? order by day, record limit ?", (today, limit)
        )
        return [_tally(row) for row in rows]

    def accounted(self, tally: Tally, now_ms: int) -> None:
        """One more account was made of it; its day, if it was of one, is done with."""
        self._db.execute(
            f"insert into tally ({_TALLY}, last_day) values (?, ?, 0, 0, 0, 0, ?, 1, ?, '', '')"
            " on conflict (record) do update set accounts = tally.accounts + 1, account_ms = excluded.account_ms,"
            " day = case when ? = '' then tally.day when tally.last_day > tally.day then tally.last_day else '' end",
            (tally.record, tally.recipient, b"", now_ms, tally.day),
        )


def _tally(row: tuple[str, str, int, int, int, int, bytes, int, int, str]) -> Tally:
    record, recipient, events, samples, unknown_events, unknown_samples, last, accounts, account_ms, day = row
    confirmed, unknown = Count(events, samples), Count(unknown_events, unknown_samples)
    return Tally(record, recipient, confirmed, unknown, bytes(last), accounts, account_ms, day)
