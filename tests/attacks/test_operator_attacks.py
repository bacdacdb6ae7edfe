"""What is restarted, restored or killed at a bad moment, against the journal and the two transactions of an ending."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from carnet.errors import ConsentError, UnavailableError
from carnet_cloud.consents import Ended
from carnet_cloud.journal import Journal, Narrowing
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit

LINE = Narrowing("rec_aaaaaaaaaaaaaaaa", "withdraw", "owner", kit.GIVEN_MS)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.fixture
def unit(cloud: Cloud) -> Unit:
    unit = Unit()
    cloud.enrol(unit)
    return unit


def happen(cloud: Cloud, kind: str, entries: list[str]) -> str:
    """The owner's next event, taken by the cloud; its token."""
    cloud.clock.ms += 1000
    entry = kit.event(kind, entries, cloud.clock.ms)
    cloud.consents.event(entry, kit.RECORD_ID)
    return entry


def state(cloud: Cloud) -> str:
    with cloud.store.transaction() as t:
        stored = t.consents.record(kit.RECORD_ID)
    assert stored is not None
    return stored.state


def backup(cloud: Cloud) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    cloud.store._connection.backup(copy)
    return copy


def restore(cloud: Cloud, copy: sqlite3.Connection) -> None:
    """The backup comes back and the service starts; nothing of the old process lives on."""
    copy.backup(cloud.store._connection)
    cloud.book._compiled.clear()
    cloud.consents.replay_journal()
    cloud.consents.finish_endings()


def test_f27_a_second_pause_is_kept_by_the_journal_although_the_backup_knows_a_first(cloud: Cloud, unit: Unit) -> None:
    """Pause, resume, backup, pause, restore: still paused."""
    entries = [cloud.give()]
    entries.append(happen(cloud, "pause", entries))
    entries.append(happen(cloud, "resume", entries))
    copy = backup(cloud)
    happen(cloud, "pause", entries)
    restore(cloud, copy)
    assert state(cloud) == "suspended"


def test_f27_a_confirmation_cannot_bring_back_what_was_withdrawn(cloud: Cloud, unit: Unit) -> None:
    """Whatever the owner's tool confirms after a restore, the withdrawal has ended the record."""
    cloud.send(unit.schema())
    token = cloud.give()
    copy = backup(cloud)
    happen(cloud, "withdraw", [token])
    restore(cloud, copy)
    cloud.consents.confirm(kit.RECORD_ID)
    cloud.send(unit.data())
    assert cloud.events() == []
    assert state(cloud) == "revoked"


def test_f27_a_record_given_again_after_a_restore_stays_withdrawn(cloud: Cloud, unit: Unit) -> None:
    """The backup is from before the yes: whoever kept the record's token cannot undo the later no."""
    copy = backup(cloud)
    token = cloud.give()
    happen(cloud, "withdraw", [token])
    restore(cloud, copy)
    with pytest.raises(ConsentError, match="narrowed before"):
        cloud.give()


def test_f27_a_resume_after_a_restore_holds_over_the_next_start(cloud: Cloud, unit: Unit) -> None:
    """What the journal says is applied once, not at every start."""
    token = cloud.give()
    copy = backup(cloud)
    happen(cloud, "pause", [token])
    restore(cloud, copy)
    with cloud.store.transaction() as t:
        suspended = t.consents.events(kit.RECORD_ID)
    happen(cloud, "resume", [token, *suspended])
    cloud.consents.replay_journal()
    assert state(cloud) == "given"


def test_a_crash_between_the_journal_and_its_transaction_ends_the_record(
    cloud: Cloud, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is on disk, the transaction is not: the next start ends it, and the owner's repeated no is answered."""
    token = cloud.give()
    withdraw = kit.event("withdraw", [token], cloud.clock.ms)
    with monkeypatch.context() as patch:
        patch.setattr("carnet_cloud.store.outbox.Outbox.destroy", _die)
        with pytest.raises(KeyboardInterrupt):
            cloud.consents.event(withdraw, kit.RECORD_ID)
    assert state(cloud) == "given"
    cloud.consents.replay_journal()
    cloud.consents.finish_endings()
    assert state(cloud) == "revoked"
    ended = cloud.consents.event(withdraw, kit.RECORD_ID)
    assert isinstance(ended, Ended)


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_crash_before_a_missing_journal_was_acted_on_silences_at_the_next_start(tmp_path: Path) -> None:
    """Opening a journal that is not there must not make it known."""
    assert not Journal(tmp_path / "j" / "n", b"i" * 16, new_store=False).known
    assert not Journal(tmp_path / "j" / "n", b"i" * 16, new_store=False).known


def test_a_journal_once_adopted_silences_nobody_again(tmp_path: Path) -> None:
    """A foreign journal asks for confirmation once, not at every start."""
    Journal(tmp_path / "j" / "n", b"o" * 16, new_store=True).append(LINE)
    journal = Journal(tmp_path / "j" / "n", b"i" * 16, new_store=False)
    assert not journal.known
    journal.adopt()
    again = Journal(tmp_path / "j" / "n", b"i" * 16, new_store=False)
    assert again.known
    assert again.narrowings == [LINE]
    assert not Journal(tmp_path / "j" / "n", b"o" * 16, new_store=False).known


def test_f3_half_a_line_on_a_full_disk_spoils_no_later_one(tmp_path: Path) -> None:
    """A write that failed leaves nothing behind, or the next start could not read the journal."""
    path = tmp_path / "j" / "n"
    full = [False]

    def fsync(descriptor: int) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        os.fsync(descriptor)

    journal = Journal(path, b"i" * 16, new_store=True, fsync=fsync)
    full[0] = True
    with pytest.raises(UnavailableError):
        journal.append(LINE)
    full[0] = False
    journal.append(LINE)
    assert Journal(path, b"i" * 16, new_store=False).narrowings == [LINE]


def test_a_pause_of_what_is_already_suspended_is_no_error(cloud: Cloud, unit: Unit) -> None:
    """A narrowing is never refused for its place."""
    token = cloud.give()
    first = happen(cloud, "pause", [token])
    happen(cloud, "pause", [token, first])
    assert state(cloud) == "suspended"


def test_the_journal_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Who withdrew what is nobody else's business on that machine."""
    Journal(tmp_path / "j" / "n", b"i" * 16, new_store=True)
    assert (tmp_path / "j" / "n").stat().st_mode & 0o077 == 0
