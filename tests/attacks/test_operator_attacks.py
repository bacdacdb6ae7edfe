"""What is restarted, restored or killed at a bad moment, against the journal and the two transactions of an ending."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from carnet.errors import ConsentError, UnavailableError
from carnet.ids import format_id
from carnet_cloud.config import MqttSection
from carnet_cloud.consents import Ended
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.journal import Journal, Narrowing
from carnet_cloud.lease import Lease, LeaseOver
from carnet_cloud.mqtt import BrokerLink
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.store import SqliteStore
from carnet_cloud.wrapping import Wrapping
from tests import consentkit as kit
from tests.cloud.kit import Cloud, Unit
from tests.world.disk import Connection

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


# a store that cannot commit what the journal already has


class Full:
    """The cloud's disk has no room at the next commits: the journal's line is there, the transaction is not."""

    def __init__(self, cloud: Cloud) -> None:
        connection = sqlite3.connect(":memory:", factory=Connection, check_same_thread=False)
        cloud.store._connection.backup(connection)
        cloud.store.__init__(connection, incarnation=b"i" * 16, now_ms=cloud.clock.ms)  # type: ignore[misc]
        self._connection = connection

    def begin(self) -> None:
        self._connection.before_commit = self._refuse

    def end(self) -> None:
        self._connection.before_commit = None

    def _refuse(self) -> None:
        raise sqlite3.OperationalError("database or disk is full")


class Ear:
    """A recipient in memory; ``during`` runs while a send is in the air."""

    def __init__(self) -> None:
        self.got = 0
        self.during: Callable[[], object] = lambda: None

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        self.during()
        try:
            lease.guard()
        except LeaseOver:
            return Outcome.CUT
        self.got += 1
        return Outcome.CONFIRMED

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None:
        return


def forwarder(cloud: Cloud, ear: Ear) -> Forwarder:
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    return Forwarder(
        cloud.store, {kit.RECIPIENT: ear}, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"sender01"
    )


def fail_to_withdraw(cloud: Cloud, full: Full, token: str) -> str:
    """The owner's withdrawal meets a full disk and is answered so; its token."""
    withdraw = kit.event("withdraw", [token], cloud.clock.ms)
    full.begin()
    with pytest.raises(UnavailableError):
        cloud.consents.event(withdraw, kit.RECORD_ID)
    full.end()
    return withdraw


def test_f3_a_withdrawal_that_the_store_could_not_keep_is_silent_at_once(cloud: Cloud, unit: Unit) -> None:
    """Nothing is sent and nothing is taken, although the store still says given; the sweeper finishes it."""
    full, ear = Full(cloud), Ear()
    token = cloud.give()
    cloud.send(unit.schema(), unit.data())
    fail_to_withdraw(cloud, full, token)
    assert state(cloud) == "given"
    assert not forwarder(cloud, ear).step(kit.RECIPIENT)
    cloud.send(unit.data())
    assert len(cloud.events()) == 1
    cloud.consents.finish_endings()
    assert state(cloud) == "revoked"
    assert cloud.events() == []
    assert ear.got == 0


def test_f3_a_withdrawal_that_the_store_could_not_keep_cuts_what_is_in_the_air(cloud: Cloud, unit: Unit) -> None:
    """As one that it could."""
    full, ear = Full(cloud), Ear()
    token = cloud.give()
    cloud.send(unit.schema(), unit.data(), unit.data())
    ear.during = lambda: fail_to_withdraw(cloud, full, token)
    forwarder(cloud, ear).step(kit.RECIPIENT)
    assert ear.got == 0


def test_f3_a_withdrawal_that_the_store_could_not_keep_is_finished_at_the_next_start(cloud: Cloud, unit: Unit) -> None:
    """The process has ended, and what it knew with it: a new one is silent from its first moment."""
    full, ear = Full(cloud), Ear()
    token = cloud.give()
    cloud.send(unit.schema(), unit.data())
    fail_to_withdraw(cloud, full, token)
    journal = Journal(cloud.journal._path, cloud.store.incarnation, new_store=False)
    cloud.consents._journal = journal
    cloud.book._is_pending = journal.is_pending
    assert not forwarder(cloud, ear).step(kit.RECIPIENT)
    assert cloud.consents.replay_journal() == 1
    cloud.consents.finish_endings()
    assert state(cloud) == "revoked"
    assert ear.got == 0


def test_f3_another_records_narrowing_forgets_no_line_that_the_store_missed(cloud: Cloud, unit: Unit) -> None:
    """The store counts lines: one that was never applied must not be counted as if it had been."""
    full = Full(cloud)
    other = format_id("rec_", b"the other!")
    token, others = cloud.give(), cloud.give(id=other)
    fail_to_withdraw(cloud, full, token)
    cloud.consents.event(kit.event("withdraw", [others], cloud.clock.ms, record=other), other)
    assert state(cloud) == "revoking"
    cloud.consents.finish_endings()
    assert state(cloud) == "revoked"


def test_f3_the_owner_who_asks_again_gets_his_own_withdrawal(cloud: Cloud, unit: Unit) -> None:
    """Once there is room it is his signed event that ends the record."""
    full = Full(cloud)
    token = cloud.give()
    withdraw = fail_to_withdraw(cloud, full, token)
    ended = cloud.consents.event(withdraw, kit.RECORD_ID)
    assert isinstance(ended, Ended)
    assert ended.state == "withdrawn"


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


@pytest.mark.parametrize("left", [b"", bytes(32)])
def test_what_a_crash_left_of_a_wrapping_key_neither_stops_the_start_nor_wraps(tmp_path: Path, left: bytes) -> None:
    """An empty file was never used; one of zeros was just destroyed, and everybody knows it."""
    whole = Wrapping(tmp_path, random.Random(1).randbytes).wrap(b"k" * 32)
    (tmp_path / "0000000000000000.key").write_bytes(left)
    again = Wrapping(tmp_path, random.Random(2).randbytes)
    assert again.unwrap(*whole) == b"k" * 32
    assert again.wrap(b"k" * 32)[1] != bytes(8)
    assert not (tmp_path / "0000000000000000.key").exists()


def test_a_store_is_for_its_owner_alone_with_all_that_lies_beside_it(tmp_path: Path) -> None:
    """The write-ahead log and the lock too, whatever the umask and the folder."""
    before = os.umask(0)
    try:
        store = SqliteStore.open(tmp_path / "open" / "store.sqlite", incarnation=b"i" * 16, now_ms=1)
        files = list((tmp_path / "open").iterdir())
        assert len(files) >= 3
        assert [path.name for path in files if path.stat().st_mode & 0o077] == []
        store.close()
    finally:
        os.umask(before)


def test_a_packet_that_the_client_chokes_on_leaves_nobody_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lying broker ends the connection, not the thread: the receiver tries again."""
    link = BrokerLink(MqttSection(host="127.0.0.1", port=1), "receiver-test")
    tries: list[int] = []

    def choke(*_: object, **__: object) -> None:
        tries.append(1)
        if len(tries) == 3:
            link._stop.set()
        raise ValueError

    monkeypatch.setattr(paho.Client, "connect", choke)
    monkeypatch.setattr("carnet_cloud.mqtt.random.random", lambda: 0.0)
    link._run()
    assert (len(tries), link.failed) == (3, 3)


def test_a_flood_of_large_messages_is_dropped_before_the_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is counted in bytes, and gives them back as they are taken."""
    monkeypatch.setattr("carnet_cloud.mqtt.QUEUE_BYTES_MAX", 1000)
    link = BrokerLink(MqttSection(host="127.0.0.1", port=1), "receiver-test")
    message = paho.MQTTMessage(topic=b"t")
    message.payload = b"x" * 400
    for _ in range(5):
        link._on_message(link._client, None, message)
    assert link.dropped == 3
    assert len(link.take(10, 0.0)) == 2
    link._on_message(link._client, None, message)
    assert link.dropped == 3
