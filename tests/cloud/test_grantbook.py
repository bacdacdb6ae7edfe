"""The grant book: a standing is what the stored documents come to, and no other; whose tenure it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from carnet.errors import ConsentError
from carnet.states import State
from carnet_cloud import grantbook
from carnet_cloud.gate import Standing
from carnet_cloud.grantbook import GrantBook, tenure_of
from carnet_cloud.store.devices import Device
from tests import consentkit as kit
from tests.cloud.kit import DEVICE, NOW_MS, VEHICLE, Cloud, Unit


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.enrol(Unit())
    return cloud


def standing(cloud: Cloud, book: GrantBook | None = None, record: str = kit.RECORD_ID) -> Standing | None:
    with cloud.store.transaction() as t:
        return (book or cloud.book).standing(t, record)


def put(cloud: Cloud, statement: str) -> None:
    with cloud.store.transaction() as t:
        t.outbox._db.execute(statement)


def happen(cloud: Cloud, kind: str, entries: list[str]) -> None:
    entries.append(kit.event(kind, entries, cloud.clock.ms))
    cloud.consents.event(entries[-1], kit.RECORD_ID)


def test_what_nobody_knows_has_no_standing(cloud: Cloud) -> None:
    assert standing(cloud) is None


@pytest.mark.parametrize(
    ("damage", "is_counted"),
    [
        ("update record set jws = 'x' || jws", True),
        ("update event set entry = 'x' || entry", True),
        ("update record set offer = 'off_none'", False),
    ],
)
def test_documents_that_do_not_compile_have_no_standing(cloud: Cloud, damage: str, is_counted: bool) -> None:
    """Whichever of them is damaged; counted as often as a fresh look finds it."""
    entries = [cloud.give()]
    happen(cloud, "pause", entries)
    cloud.store._connection.execute("pragma foreign_keys = off")
    put(cloud, damage)
    book = GrantBook((kit.RECIPIENT,))
    assert standing(cloud, book) is None
    assert (cloud.counters().get("stored_record_refused", 0) > 0) is is_counted
    with cloud.store.transaction() as t:
        assert not book.may_send(t, kit.RECORD_ID, NOW_MS)


def test_of_entries_that_are_not_in_force_yet_only_the_beginning_counts(cloud: Cloud) -> None:
    """What comes is told beside it, and nothing when all of them are in force."""
    entries = [cloud.give()]
    found = standing(cloud)
    assert found is not None
    assert (found.grant.state, found.coming) == (State.GIVEN, None)
    happen(cloud, "pause", entries)
    cloud.lagging = True
    happen(cloud, "resume", entries)
    found = standing(cloud)
    assert found is not None and found.coming is not None
    assert (found.grant.state, found.coming.state) == (State.SUSPENDED, State.GIVEN)
    cloud.sequencer.turns()
    found = standing(cloud)
    assert found is not None
    assert (found.grant.state, found.coming) == (State.GIVEN, None)


def test_while_nothing_of_a_record_is_in_force_all_of_it_is_told(cloud: Cloud) -> None:
    """The gate asks for the place in the log; what the owner said last is never left out."""
    entries = [cloud.give()]
    happen(cloud, "pause", entries)
    put(cloud, "update record set in_force = 0")
    found = standing(cloud)
    assert found is not None and found.coming is not None
    assert (found.grant.state, found.coming.state) == (State.SUSPENDED, State.SUSPENDED)


def test_a_beginning_that_does_not_compile_has_no_standing_although_the_whole_does(cloud: Cloud) -> None:
    """And the other way round: both have to."""
    entries = [cloud.give()]
    happen(cloud, "pause", entries)
    compiled = grantbook._compile
    for broken in (0, 1):
        put(cloud, "update record set in_force = 1")

        def compile_but_one(*arguments: object, which: int = broken) -> object:
            return None if len(arguments[2]) == which else compiled(*arguments)  # type: ignore[arg-type]

        with patch.object(grantbook, "_compile", compile_but_one):
            assert standing(cloud, GrantBook((kit.RECIPIENT,))) is None


def test_what_was_compiled_is_kept_and_the_store_of_it_is_bounded(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look compiles nothing; one too many begins anew, and every look is right."""
    for record in (kit.RECORD_ID, kit.OTHER_RECORD_ID):
        cloud.give(id=record)
    compiled: list[str] = []
    compile_one = grantbook._compile

    def count(*arguments: object) -> object:
        compiled.append(arguments[1].id)  # type: ignore[attr-defined]
        return compile_one(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(grantbook, "_compile", count)
    monkeypatch.setattr(grantbook, "CACHE_MAX", 2)
    book = GrantBook((kit.RECIPIENT,))
    for _ in range(2):
        for record in (kit.RECORD_ID, kit.OTHER_RECORD_ID):
            found = standing(cloud, book, record)
            assert found is not None and found.grant.record_id == record
    assert compiled == [kit.RECORD_ID, kit.OTHER_RECORD_ID]
    happen(cloud, "pause", [kit.token()])
    compiled.clear()
    for record in (kit.RECORD_ID, kit.OTHER_RECORD_ID, kit.RECORD_ID):
        standing(cloud, book, record)
    assert compiled == [kit.RECORD_ID, kit.OTHER_RECORD_ID]


def test_without_a_journal_nothing_is_pending(cloud: Cloud) -> None:
    cloud.give()
    with cloud.store.transaction() as t:
        assert GrantBook((kit.RECIPIENT,)).may_send(t, kit.RECORD_ID, NOW_MS)
        assert not GrantBook((kit.RECIPIENT,), lambda _: True).may_send(t, kit.RECORD_ID, NOW_MS)
        assert not GrantBook(()).may_send(t, kit.RECORD_ID, NOW_MS)


def test_the_tenure_is_that_of_the_newest_unit_that_is_heard(cloud: Cloud) -> None:
    other = Device(b"z" * 16, VEHICLE, "ten_other", 2, bytes(32), bytes(32), "active")
    with cloud.store.transaction() as t:
        assert tenure_of(t, VEHICLE) == (1, kit.TENANT)
        t.devices.add(other, NOW_MS)
        assert tenure_of(t, VEHICLE) == (2, "ten_other")
        t.devices.add(replace(other, device=b"y" * 16, epoch=3, tenant="ten_third", state="quarantined"), NOW_MS)
        assert tenure_of(t, VEHICLE) == (2, "ten_other")
        t.outbox._db.execute("update device set state = 'ended'")
        with pytest.raises(ConsentError) as refused:
            tenure_of(t, VEHICLE)
    assert refused.value.reason == "vehicle_unknown"
    assert DEVICE.hex() not in str(refused.value)
