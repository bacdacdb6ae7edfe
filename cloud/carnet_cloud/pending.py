"""What the journal says is narrowed and the store does not say yet, where other programs write both."""

from __future__ import annotations

from collections.abc import Callable

from carnet_cloud.journal import Journal
from carnet_cloud.store import Store


def pending_in(store: Store, journal: Journal) -> Callable[[str], bool]:
    """`Journal.is_pending` for a store that other programs narrow too: what it has applied is asked of the store.

    Whatever record it is about, or a line that another program has long applied would look like one that waits.
    """

    def is_pending(record: str) -> bool:
        journal.refresh()
        if journal.pending:
            with store.transaction() as t:
                journal.applied(t.consents.journal_lines())
        return journal.is_pending(record)

    return is_pending
