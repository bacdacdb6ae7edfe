"""Withdrawn means silent: endings are journalled, destroy what waits, cut what flies,
and survive a crash and a backup.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from carnet.errors import ConsentError, UnavailableError
from carnet_cloud.consents import Ended
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.journal import Journal
from carnet_cloud.lease import Lease, LeaseOver, Leases
from carnet_cloud.recipients import Event, Outcome
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit


class Listener:
    """A recipient in memory; ``during`` runs while a send is in the air."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.during: Callable[[], object] = lambda: None
        self.outcome = Outcome.CONFIRMED

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        self.during()
        try:
            lease.guard()
        except LeaseOver:
            return Outcome.CUT
        self.got.append(event.event_id)
        return self.outcome

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None:
        return


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    unit = Unit()
    cloud.enrol(unit)
    return unit


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def forwarder(cloud: Cloud, listener: Listener) -> Forwarder:
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    return Forwarder(
        cloud.store, {kit.RECIPIENT: listener}, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"sender01"
    )


def queued(cloud: Cloud, unit: Unit, count: int = 1) -> str:
    """A given record with this many events in the outbox; the record's token."""
    token = cloud.give()
    cloud.send(unit.schema(), *[unit.data() for _ in range(count)])
    return token


def happen(cloud: Cloud, kind: str, entries: list[str]) -> object:
    cloud.clock.ms += 1000
    return cloud.consents.event(kit.event(kind, entries, cloud.clock.ms), kit.RECORD_ID)


def test_withdraw_destroys_what_waits_and_returns_when_silent(cloud: Cloud, unit: Unit, forwarder: Forwarder) -> None:
    """Key and payloads are gone in the withdrawing transaction; nothing is sent afterwards."""
    token = queued(cloud, unit, 3)
    ended = happen(cloud, "withdraw", [token])
    assert isinstance(ended, Ended)
    assert (ended.state, ended.destroyed, ended.unknown) == ("withdrawn", 3, 0)
    assert not forwarder.step(kit.RECIPIENT)
    with cloud.store.transaction() as t:
        assert t.outbox_keys.get(kit.RECORD_ID, kit.RECIPIENT) is None
        assert {d.outcome for d in t.outbox.deliveries(kit.RECORD_ID)} == {"destroyed"}
    cloud.send(unit.data())
    assert cloud.events() == []


def test_a_send_in_the_air_is_cut_and_listed_as_unknown(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """The recipient may or may not have it: the owner is told so."""
    token = queued(cloud, unit)
    results: list[object] = []
    listener.during = lambda: results.append(happen(cloud, "withdraw", [token]))
    forwarder.step(kit.RECIPIENT)
    (ended,) = results
    assert isinstance(ended, Ended)
    assert (ended.destroyed, ended.unknown) == (0, 1)
    assert ended.silent_after_ms <= 500
    assert listener.got == []


@pytest.mark.parametrize("late_ms", [-1, 0])
def test_a_send_in_the_air_ends_with_its_record(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener, late_ms: int
) -> None:
    """A lease that was taken a moment before the end does not reach over it."""
    queued(cloud, unit)
    with cloud.store.transaction() as t:
        stored = t.consents.record(kit.RECORD_ID)
    assert stored is not None
    cloud.clock.ms = stored.expires_ms - 50
    listener.during = lambda: setattr(cloud.clock, "ms", stored.expires_ms + late_ms)
    assert forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == (late_ms < 0)


def test_a_confirmation_that_comes_after_the_withdrawal_is_written_down(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """What the recipient has is told as it is, even if the write was cut too late."""
    token = queued(cloud, unit)

    def late(event: Event, lease: Lease, now_s: int) -> Outcome:
        happen(cloud, "withdraw", [token])
        return Outcome.CONFIRMED

    listener.send = late  # type: ignore[method-assign]
    forwarder.step(kit.RECIPIENT)
    with cloud.store.transaction() as t:
        assert [d.outcome for d in t.outbox.deliveries(kit.RECORD_ID)] == ["confirmed"]


def test_what_was_tried_without_an_answer_is_unknown_after_the_withdrawal(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """The recipient may have kept what it did not confirm; nobody tells the owner that it was destroyed unseen."""
    token = queued(cloud, unit)
    listener.outcome = Outcome.RETRY
    forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == 1
    ended = happen(cloud, "withdraw", [token])
    assert isinstance(ended, Ended)
    assert (ended.destroyed, ended.unknown) == (0, 1)
    with cloud.store.transaction() as t:
        assert [d.outcome for d in t.outbox.deliveries(kit.RECORD_ID)] == ["unknown"]


def test_what_waits_at_the_end_of_a_grant_is_destroyed_and_not_looked_at_for_ever(
    cloud: Cloud, unit: Unit, forwarder: Forwarder
) -> None:
    queued(cloud, unit, 2)
    cloud.clock.ms = kit.GIVEN_MS + 31 * kit.DAY_MS
    assert not forwarder.step(kit.RECIPIENT)
    with cloud.store.transaction() as t:
        assert t.outbox_keys.get(kit.RECORD_ID, kit.RECIPIENT) is None
        assert {d.outcome for d in t.outbox.deliveries(kit.RECORD_ID)} == {"destroyed"}
        assert not t.outbox.depth().get("queued")


def test_a_pause_keeps_events_back_and_what_waited_is_not_sent_after_it(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Only captures after the resume are covered; what waited since before is uncovered for good."""
    token = queued(cloud, unit)
    pause = kit.event("pause", [token], cloud.clock.ms + 1)
    cloud.consents.event(pause, kit.RECORD_ID)
    assert not forwarder.step(kit.RECIPIENT)
    resume = kit.event("resume", [token, pause], cloud.clock.ms + 2)
    cloud.consents.event(resume, kit.RECORD_ID)
    assert not forwarder.step(kit.RECIPIENT)
    assert listener.got == []


def test_a_pause_that_is_asked_for_again_returns_when_silent_too(
    cloud: Cloud, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time the store was lost behind its commit, while another receiver was sending."""
    token = queued(cloud, unit)
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    there = Forwarder(
        cloud.store, {kit.RECIPIENT: Listener()}, cloud.wrapping, Leases(), cloud.book.may_send, clocks, b"sender02"
    )
    assert len(there._take(kit.RECIPIENT, cloud.clock.monotonic_ms())) == 1
    pause = kit.event("pause", [token], cloud.clock.ms)

    def lost(*_: object) -> None:
        raise UnavailableError("store_unavailable", "lost")

    with monkeypatch.context() as patch:
        patch.setattr(cloud.consents, "_finish", lost)
        with pytest.raises(UnavailableError):
            cloud.consents.event(pause, kit.RECORD_ID)
    cloud.consents.event(pause, kit.RECORD_ID)
    with cloud.store.transaction() as t:
        assert t.outbox.in_flight(kit.RECORD_ID, cloud.clock.ms) == 0


def test_an_unconfirmed_event_comes_again_with_the_same_id(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Never a second id; and after the confirmation never again."""
    queued(cloud, unit)
    listener.outcome = Outcome.RETRY
    assert forwarder.step(kit.RECIPIENT)
    assert not forwarder.step(kit.RECIPIENT)
    cloud.clock.ms += 10_000
    listener.outcome = Outcome.CONFIRMED
    assert forwarder.step(kit.RECIPIENT)
    cloud.clock.ms += 10_000
    assert not forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == 2
    assert len(set(listener.got)) == 1


def test_a_lease_that_ran_out_is_taken_over(cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener) -> None:
    """A sender that died leaves nothing behind."""
    queued(cloud, unit)

    def die() -> None:
        raise KeyboardInterrupt

    listener.during = die
    with pytest.raises(KeyboardInterrupt):
        forwarder.step(kit.RECIPIENT)
    listener.during = lambda: None
    cloud.clock.ms += 500
    assert forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == 1


def test_a_restored_backup_cannot_unwithdraw(cloud: Cloud, unit: Unit, forwarder: Forwarder, tmp_path: Path) -> None:
    """The journal is outside the backup: at the next start the record is silent until its owner confirms it."""
    token = queued(cloud, unit)
    backup = sqlite3.connect(":memory:", check_same_thread=False)
    cloud.store._connection.backup(backup)
    happen(cloud, "withdraw", [token])
    backup.backup(cloud.store._connection)
    assert cloud.consents.replay_journal() == 1
    assert not forwarder.step(kit.RECIPIENT)
    cloud.send(unit.data())
    assert cloud.events() == []


def ended(cloud: Cloud, record: str) -> str:
    """A record that was given and withdrawn; the narrowing's line is in the journal."""
    token = cloud.give(id=record)
    cloud.consents.event(kit.event("withdraw", [token], cloud.clock.ms, record=record), record)
    return token


def restart(cloud: Cloud, folder: Path) -> None:
    """With the journal that lies in this folder."""
    cloud.consents._journal = Journal(folder / "narrowings", cloud.store.incarnation, new_store=False)
    cloud.consents.replay_journal()


def test_a_backup_from_before_the_journal_was_lost_cannot_unwithdraw(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, tmp_path: Path
) -> None:
    """It has applied as many lines as the new journal has, and other ones."""
    ended(cloud, "rec_" + "a" * 16)
    token = queued(cloud, unit)
    backup = sqlite3.connect(":memory:", check_same_thread=False)
    cloud.store._connection.backup(backup)
    restart(cloud, tmp_path / "new")
    cloud.consents.confirm(kit.RECORD_ID)
    happen(cloud, "withdraw", [token])
    backup.backup(cloud.store._connection)
    restart(cloud, tmp_path / "new")
    assert not forwarder.step(kit.RECIPIENT)
    cloud.send(unit.data())
    assert cloud.events() == []


def test_a_journal_without_its_last_lines_silences_like_none(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, tmp_path: Path
) -> None:
    """An old copy was put in its place: nobody can say what else it lacks. Once owners have confirmed it goes on."""
    queued(cloud, unit)
    (tmp_path / "old").mkdir()
    ended(cloud, "rec_" + "a" * 16)
    (tmp_path / "old" / "narrowings").write_bytes((tmp_path / "journal" / "narrowings").read_bytes())
    ended(cloud, "rec_" + "b" * 16)
    restart(cloud, tmp_path / "old")
    assert not forwarder.step(kit.RECIPIENT)
    assert cloud.counters()["journal_missing"] == 1
    cloud.consents.confirm(kit.RECORD_ID)
    restart(cloud, tmp_path / "old")
    cloud.clock.ms += 10_000
    assert forwarder.step(kit.RECIPIENT)


def test_what_was_compiled_of_a_history_that_is_gone_decides_nothing(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """A database that failed over behind a running receiver has lost a renewal; then the owner pauses."""
    token = queued(cloud, unit)
    expires = kit.GIVEN_MS + 100 * kit.DAY_MS
    renew = kit.event("renew", [token], cloud.clock.ms, expires_ms=expires)
    cloud.consents.event(renew, kit.RECORD_ID)
    assert forwarder.step(kit.RECIPIENT)
    with cloud.store.transaction() as t:
        t.outbox._db.execute("delete from event")
    cloud.consents.event(kit.event("pause", [token, renew], cloud.clock.ms), kit.RECORD_ID)
    cloud.send(unit.data())
    assert not forwarder.step(kit.RECIPIENT)
    assert cloud.events() == []
    assert len(listener.got) == 1


def test_without_its_journal_a_store_is_silent_until_owners_confirm(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener, tmp_path: Path
) -> None:
    """Nobody can say what was withdrawn, so nothing goes."""
    queued(cloud, unit)
    cloud.consents._journal = Journal(tmp_path / "elsewhere" / "narrowings", cloud.store.incarnation, new_store=False)
    cloud.consents.replay_journal()
    assert cloud.counters()["journal_missing"] == 1
    assert not forwarder.step(kit.RECIPIENT)
    cloud.consents.confirm(kit.RECORD_ID)
    cloud.clock.ms += 10_000
    assert forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == 1


def test_a_crash_between_the_two_transactions_is_finished_at_the_next_start(cloud: Cloud, unit: Unit) -> None:
    """WITHDRAWING becomes WITHDRAWN, and nothing was sent in between."""
    token = queued(cloud, unit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cloud.consents, "_drain", lambda *_: None)
        happen(cloud, "withdraw", [token])
    with cloud.store.transaction() as t:
        assert t.consents.record(kit.RECORD_ID).state == "withdrawing"  # type: ignore[union-attr]
    assert cloud.consents.finish_endings() == 1
    with cloud.store.transaction() as t:
        assert t.consents.record(kit.RECORD_ID).state == "withdrawn"  # type: ignore[union-attr]


def test_an_owners_narrowing_is_never_refused_for_an_old_history(cloud: Cloud, unit: Unit) -> None:
    """The owner's tool was behind: the operator ends it on the owner's word."""
    token = queued(cloud, unit)
    happen(cloud, "pause", [token])
    ended = happen(cloud, "withdraw", [token])
    assert isinstance(ended, Ended)
    assert ended.state == "revoked"


def test_a_widening_of_an_old_history_is_refused(cloud: Cloud, unit: Unit) -> None:
    """A replayed resume cannot undo a later pause."""
    token = queued(cloud, unit)
    pause = kit.event("pause", [token], cloud.clock.ms + 1)
    cloud.consents.event(pause, kit.RECORD_ID)
    resume = kit.event("resume", [token, pause], cloud.clock.ms + 2)
    cloud.consents.event(resume, kit.RECORD_ID)
    again = kit.event("pause", [token, pause, resume], cloud.clock.ms + 3)
    cloud.consents.event(again, kit.RECORD_ID)
    other = kit.event("resume", [token, pause], cloud.clock.ms + 4)
    with pytest.raises(ConsentError):
        cloud.consents.event(other, kit.RECORD_ID)


def test_a_widening_far_from_the_clock_is_refused(cloud: Cloud, unit: Unit) -> None:
    """The server's clock decides, not the owner's."""
    token = queued(cloud, unit)
    pause = kit.event("pause", [token], cloud.clock.ms + 1)
    cloud.consents.event(pause, kit.RECORD_ID)
    with pytest.raises(ConsentError, match="clock"):
        cloud.consents.event(kit.event("resume", [token, pause], cloud.clock.ms + 400_000), kit.RECORD_ID)


def test_the_generation_rises_with_every_change_and_the_car_is_told(cloud: Cloud, unit: Unit) -> None:
    """Given, withdrawing, withdrawn."""
    token = queued(cloud, unit)
    happen(cloud, "withdraw", [token])
    assert len(cloud.changed) == 3
    with cloud.store.transaction() as t:
        assert t.consents.generation(cloud.changed[0], 1) == 3


def test_what_was_tried_and_not_confirmed_is_unknown_after_a_withdrawal(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """The recipient may have it although its answer was lost: the owner is told so, and not that it was destroyed."""
    token = queued(cloud, unit)
    listener.outcome = Outcome.RETRY
    forwarder.step(kit.RECIPIENT)
    ended = happen(cloud, "withdraw", [token])
    assert isinstance(ended, Ended)
    assert (ended.destroyed, ended.unknown) == (0, 1)
