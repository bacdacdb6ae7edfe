"""The unit's own list of what it sealed for whom says the same as the boxes, over starts, ends and crashes."""

from __future__ import annotations

from collections import Counter

import pytest

from carnet.ids import format_id
from carnet_agent.buffer import Buffer
from carnet_agent.buffer.sealed import KEEP_DAYS, SealedCounts
from carnet_agent.consent.store import GrantStore
from carnet_agent.core import RECONCILE_MS
from carnet_agent.floor import Floor
from carnet_agent.sending.unitledger import day_of
from tests import consentkit as kit
from tests.agent.agentkit import Rig, grants, record
from tests.cloud.kit import NOW_MS

OTHER = format_id("rec_", b"the second")


@pytest.fixture
def rig() -> Rig:
    rig = Rig(NOW_MS)
    rig.synchronised = True
    rig.start()
    return rig


def told(rig: Rig) -> dict[str, int]:
    """Samples by record."""
    found: Counter[str] = Counter()
    for each in rig.agent.ledger():
        assert isinstance(each["samples"], int)
        found[str(each["record"])] += each["samples"]
    return dict(found)


def test_it_says_what_lies_in_the_buffer_by_day_and_record(rig: Rig) -> None:
    rig.grant(grants(1))
    assert rig.agent.ledger() == []
    rig.pass_time(61_000)
    (entry,) = rig.agent.ledger()
    assert (entry["day"], entry["record"]) == (day_of(rig.wall_ms), kit.RECORD_ID)
    assert told(rig) == {kit.RECORD_ID: rig.count("samples_waiting")}
    boxes = rig.buffer_db.execute("select count(*) from box").fetchone()[0]
    assert entry["boxes"] == boxes


def test_a_box_of_two_records_counts_for_each(rig: Rig) -> None:
    rig.grant(kit.grant_set(1, record(), record(id=OTHER)))
    rig.pass_time(61_000)
    waiting = rig.count("samples_waiting")
    assert told(rig) == {kit.RECORD_ID: waiting, OTHER: waiting}


def test_what_is_acknowledged_destroyed_or_promoted_was_sealed_all_the_same(rig: Rig) -> None:
    """Also after a start; what a crash left of the open window counts when it becomes a row, and once."""
    rig.grant(grants(1))
    rig.pass_time(85_000)
    rig.start()
    before = told(rig)
    assert before == {kit.RECORD_ID: rig.count("samples_waiting")}
    rig.grant(grants(2, "withdraw"))
    assert rig.count("samples_waiting") == 0
    assert told(rig) == before
    assert rig.agent._store.dead_handles(frozenset()) == set()
    rig.start()
    assert told(rig) == before


@pytest.mark.parametrize("where", [(SealedCounts, "forget"), (GrantStore, "forget_handles")])
def test_a_crash_while_a_handle_is_forgotten_counts_nothing_twice(
    rig: Rig, where: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.grant(grants(1))
    rig.pass_time(61_000)
    before = told(rig)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*where, cut)
        with pytest.raises(KeyboardInterrupt):
            rig.grant(grants(2, "withdraw"))
    rig.start()
    assert told(rig) == before
    rig.pass_time(61_000)
    assert told(rig) == before


def test_days_that_are_too_old_are_forgotten(rig: Rig) -> None:
    rig.grant(grants(1))
    rig.pass_time(61_000)
    rig._wall_ms += 20 * kit.DAY_MS
    rig.pass_time(61_000)
    assert len({each["day"] for each in rig.agent.ledger()}) == 2
    rig.agent._buffer.sealed.forget(set(), day_of(rig.wall_ms))
    assert {each["day"] for each in rig.agent.ledger()} == {day_of(rig.wall_ms)}


def test_one_word_far_ahead_forgets_nothing(rig: Rig) -> None:
    """The day that it surely is decides (decision 0015): the word may be taken back, what was forgotten not."""
    rig.grant(grants(1))
    rig.pass_time(61_000)
    before = told(rig)
    rig._wall_ms += 200 * kit.DAY_MS
    rig.pass_time(2 * RECONCILE_MS)
    assert rig.agent.status()["in_force"] == []
    assert told(rig) == before


def test_what_is_surely_too_old_is_forgotten_with_the_next_look(rig: Rig) -> None:
    rig.grant(grants(1))
    rig.pass_time(61_000)
    today, old = (day_of(rig.wall_ms, back_days=back) for back in (0, KEEP_DAYS + 1))
    rig.buffer_db.execute("update meta set name = replace(name, ?, ?)", (today, old))
    assert [each["day"] for each in rig.agent.ledger()] == [old]
    rig.agent._clock.floor = Floor(rig.wall_ms)
    rig.pass_time(RECONCILE_MS)
    assert [each["day"] for each in rig.agent.ledger()] == [today]


def test_a_sale_leaves_nothing_of_it(rig: Rig) -> None:
    rig.grant(grants(1))
    rig.pass_time(61_000)
    buffer: Buffer = rig.agent._buffer
    assert buffer.sealed.all()
    buffer.wipe()
    assert buffer.sealed.all() == []
