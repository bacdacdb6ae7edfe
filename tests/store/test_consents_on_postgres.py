"""``tests/cloud/test_consents.py`` on PostgreSQL."""

from __future__ import annotations

from tests.cloud import test_consents
from tests.store.adopted import adopt

adopt(
    test_consents,
    globals(),
    without={
        "test_a_restored_backup_cannot_unwithdraw",
        "test_a_backup_from_before_the_journal_was_lost_cannot_unwithdraw",
    },
)
