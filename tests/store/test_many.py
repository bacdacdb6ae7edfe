"""Several programs on one PostgreSQL forward, narrow and wrap keys as one would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from carnet_cloud.consents import Ended, Waits
from carnet_cloud.forward import Forwarder
from carnet_cloud.lease import LEASE_MS, Lease, LeaseOver
from carnet_cloud.monitoring.readiness import StoreProbe
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.store.outbox import Outbox
from carnet_cloud.store.outboxkeys import OutboxKeys
from carnet_cloud.store.postgres import PostgresStore
from tests import consentkit as kit
from tests.cloud.forwardkit import OTHER, Listener, make_forwarder, outcomes
from tests.cloud.kit import NOW_MS, Cloud, Unit
from tests.store.backends import WAIT_S, until

# forwarding


def test_two_forwarders_of_one_recipient_send_every_event_once(clouds: list[Cloud], unit: Unit) -> None:
    clouds[0].give()
    clouds[0].send(unit.schema(), *[unit.data() for _ in range(200)])
    listeners = [Listener(), Listener()]

    def work(forwarder: Forwarder) -> None:
        while forwarder.step(kit.RECIPIENT):
            pass

    pairs = zip(clouds, listeners, (b"sender01", b"sender02"), strict=True)
    forwarders = [make_forwarder(cloud, listener, owner) for cloud, listener, owner in pairs]
    threads = [threading.Thread(target=work, args=(each,)) for each in forwarders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = listeners[0].got + listeners[1].got
    assert len(got) == len(set(got)) == 200


FIRST, SECOND = b"sender01", b"sender02"


class Unanswered(Listener):
    """Has every event as soon as it is sent; ``during`` runs before its answer comes."""

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        lease.guard()
        self.sends += 1
        self.got.append(event.event_id)
        self.during(self.sends)
        return Outcome.CONFIRMED


def hung(clouds: list[Cloud], unit: Unit, meanwhile: Callable[[], object]) -> tuple[list[bytes], list[bytes]]:
    """What two receivers send of three events if the first waits for its second answer longer than a lease lasts, and
    the other looks for work then, after ``meanwhile``.
    """
    clouds[0].give()
    clouds[0].send(unit.schema(), *[unit.data() for _ in range(3)])
    hangs, answers = Unanswered(), Listener()
    first, second = make_forwarder(clouds[0], hangs, FIRST), make_forwarder(clouds[1], answers, SECOND)

    def hang(sends: int) -> None:
        if sends == 2:
            for cloud in clouds:
                cloud.clock.ms += LEASE_MS + 1
            meanwhile()
            while second.step(kit.RECIPIENT):
                pass

    hangs.during = hang
    while first.step(kit.RECIPIENT):
        pass
    assert outcomes(clouds[0]) == {"confirmed": 3}
    return hangs.got, answers.got


def live(clouds: list[Cloud]) -> None:
    with clouds[0].store.transaction() as t:
        for member in (FIRST, SECOND):
            t.shards.live(member, clouds[0].clock.ms)


def test_what_hangs_at_one_receiver_is_left_to_it(clouds: list[Cloud], unit: Unit) -> None:
    """With what it had answered already: an outcome is written down with its group, after the leases ran out."""
    live(clouds)
    got, others = hung(clouds, unit, lambda: None)
    assert (len(set(got)), others) == (3, [])


def test_what_a_buried_receiver_had_taken_is_sent_again_under_the_same_ids(clouds: list[Cloud], unit: Unit) -> None:
    """It may be dead in the middle of its group; if it was only frozen, the recipient hears some of it twice."""
    live(clouds)

    def bury() -> None:
        with clouds[1].store.transaction() as t:
            t.shards.bury(FIRST)

    got, others = hung(clouds, unit, bury)
    assert (len(got), len(set(others))) == (2, 3)
    assert set(got) < set(others)


class Slow:
    """A recipient that takes an event in many writes; ``during`` runs behind the third."""

    def __init__(self, cloud: Cloud, during: Callable[[], object]) -> None:
        self._cloud = cloud
        self._during = during
        self.writes: list[float] = []

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        for number in range(100):
            try:
                lease.guard()
            except LeaseOver:
                return Outcome.CUT
            self.writes.append(time.monotonic())
            self._cloud.clock.ms += 20
            if number == 2:
                self._during()
        return Outcome.CONFIRMED

    def finish(self) -> Outcome:
        return Outcome.CONFIRMED

    def close(self) -> None:
        return


def test_a_withdrawal_here_ends_a_send_there_and_waits_for_it(clouds: list[Cloud], unit: Unit) -> None:
    """Two receivers: nothing is written by the one after the withdrawal returned at the other."""
    token = clouds[0].give()
    clouds[0].send(unit.schema(), unit.data())
    done: list[tuple[int, object]] = []

    def withdraw() -> None:
        ended = clouds[1].consents.event(kit.event("withdraw", [token], clouds[0].clock.ms), kit.RECORD_ID)
        done.append((len(slow.writes), ended))

    def pause() -> None:
        waited.set()
        clouds[0].clock.ms += 5

    def begin() -> None:
        """Nothing more is written before the withdrawal waits for us, or has returned without waiting."""
        thread.start()
        until(lambda: waited.is_set() or bool(done))

    waited = threading.Event()
    clouds[1].consents._waits = Waits(clouds[0].clock.now_ms, clouds[0].clock.monotonic_ms, pause)
    thread = threading.Thread(target=withdraw)
    slow = Slow(clouds[0], begin)
    make_forwarder(clouds[0], slow).step(kit.RECIPIENT)
    thread.join()
    ((written, ended),) = done
    assert isinstance(ended, Ended)
    assert ended.state == "withdrawn"
    assert 3 <= len(slow.writes) <= 3 + LEASE_MS // 20
    assert written == len(slow.writes)
    assert clouds[0].ask("select count(*) from outbox_key") == (0,)


def test_a_narrowing_is_told_to_the_other_programs(
    stores: list[PostgresStore], clouds: list[Cloud], unit: Unit
) -> None:
    """They cut what they have in the air at once, without waiting for a lease to end."""
    token = clouds[0].give()
    assert list(stores[2].narrowed(0.0)) == [], "from now on it listens"
    clouds[0].consents.event(kit.event("withdraw", [token], clouds[0].clock.ms), kit.RECORD_ID)
    assert next(iter(stores[2].narrowed(WAIT_S))) == kit.RECORD_ID
    assert list(stores[2].narrowed(0.0)) == []


# journal and wrapping keys


def test_what_one_program_narrowed_is_not_pending_at_the_other(clouds: list[Cloud], unit: Unit) -> None:
    """It reads the line in the journal they share, and the store says that it is done: after a resume it sends on."""
    token = clouds[0].give()
    pause = kit.event("pause", [token], clouds[0].clock.ms)
    clouds[0].consents.event(pause, kit.RECORD_ID)
    clouds[0].consents.event(kit.event("resume", [token, pause], clouds[0].clock.ms), kit.RECORD_ID)
    with clouds[1].store.transaction() as t:
        assert clouds[1].book.may_send(t, kit.RECORD_ID, clouds[1].clock.ms)


@pytest.mark.parametrize("way", ["a question about another record", "the probe"])
def test_what_another_program_narrowed_and_finished_does_not_wait_here(
    clouds: list[Cloud], unit: Unit, way: str
) -> None:
    """Or this one would call itself not ready, for its journal, until its keeper's next turn."""
    token = clouds[0].give()
    clouds[0].give(id=OTHER)
    clouds[0].consents.event(kit.event("withdraw", [token], clouds[0].clock.ms), kit.RECORD_ID)
    here = clouds[1]
    if way == "the probe":
        here.journal.refresh()
        StoreProbe(here.store, here.clock.monotonic_ms, here.journal.applied).turn()
    else:
        with here.store.transaction() as t:
            assert here.book.may_send(t, OTHER, here.clock.ms)
    assert [each.record for each in here.journal.narrowings] == [kit.RECORD_ID]
    assert here.journal.pending == []


def test_a_program_that_starts_takes_nothing_back_of_what_others_have_applied(clouds: list[Cloud], unit: Unit) -> None:
    """It has read the journal before the line of another one, which the store counts already."""
    token = clouds[0].give()
    clouds[0].consents.event(kit.event("withdraw", [token], clouds[0].clock.ms), kit.RECORD_ID)
    assert clouds[1].consents.replay_journal() == 0
    assert clouds[0].ask("select journal_lines from incarnation") == (1,)


def test_what_one_program_could_not_finish_is_silent_at_the_other(clouds: list[Cloud], unit: Unit) -> None:
    """The line is in the journal; the transaction behind it failed. The other one's keeper finishes it."""
    token = clouds[0].give()
    clouds[0].consents._entries = SimpleNamespace(add=_fails)  # type: ignore[assignment]
    with pytest.raises(OSError, match="gone"):
        clouds[0].consents.event(kit.event("withdraw", [token], clouds[0].clock.ms), kit.RECORD_ID)
    with clouds[1].store.transaction() as t:
        assert not clouds[1].book.may_send(t, kit.RECORD_ID, clouds[1].clock.ms)
    clouds[1].consents.finish_endings()
    with clouds[1].store.transaction() as t:
        assert t.consents.record(kit.RECORD_ID).state == "revoked"  # type: ignore[union-attr]


def _fails(*_: Any) -> None:
    raise OSError("gone")


def test_narrowings_of_two_programs_at_once_are_all_in_the_journal_and_applied(clouds: list[Cloud], unit: Unit) -> None:
    tokens = {kit.RECORD_ID: clouds[0].give()}
    names = [f"rec_{'abcdefgh'[number] * 16}" for number in range(8)]
    tokens = {name: clouds[0].give(id=name) for name in names}

    def work(cloud: Cloud, mine: list[str]) -> None:
        for name in mine:
            cloud.consents.event(kit.event("withdraw", [tokens[name]], cloud.clock.ms, record=name), name)

    threads = [threading.Thread(target=work, args=(clouds[n], names[n::2])) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clouds[0].journal.refresh()
    assert sorted(each.record for each in clouds[0].journal.narrowings) == names
    assert clouds[0].ask("select journal_lines from incarnation") == (8,)
    assert clouds[0].ask("select count(*) from record where state = 'withdrawn'") == (8,)


def test_a_store_that_went_back_in_time_is_silent_where_it_was_narrowed(
    stores: list[PostgresStore], clouds: list[Cloud], unit: Unit
) -> None:
    """Receivers that stayed up while a backup was restored behind them."""
    token = clouds[0].give()
    entry = kit.event("withdraw", [token], clouds[0].clock.ms)
    clouds[0].consents.event(entry, kit.RECORD_ID)
    with clouds[0].store.transaction() as t:
        db = t.outbox._db
        db.execute("update record set state = 'given'")
        db.execute("delete from event")
        t.consents.set_journal_lines(0)
    for cloud, store in zip(clouds, stores, strict=False):
        store.on_return = cloud.journal.returned
        store._db.connection.close()
        with cloud.store.transaction() as t:
            assert not cloud.book.may_send(t, kit.RECORD_ID, cloud.clock.ms)
    assert clouds[1].consents.finish_endings() == 1
    assert clouds[1].ask("select state from record") == ("revoked",)


def test_a_key_wrapped_anew_by_one_program_opens_at_the_other(clouds: list[Cloud], unit: Unit) -> None:
    clouds[0].give()
    clouds[0].send(unit.schema(), unit.data())
    assert clouds[1].wrapping.rotate(clouds[1].store, NOW_MS) == 1
    listener = Listener()
    assert make_forwarder(clouds[0], listener).step(kit.RECIPIENT)
    assert len(listener.got) == 1
    assert clouds[0].wrapping.rotate(clouds[0].store, NOW_MS) == 1
    clouds[1].send(unit.data())
    assert make_forwarder(clouds[1], listener).step(kit.RECIPIENT)
    assert len(listener.got) == 2


def test_a_key_that_is_wrapped_anew_while_it_is_read_is_not_taken_for_lost(
    clouds: list[Cloud], unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rotations since this program last looked, the second one between the reading of the row and of the file."""
    clouds[0].give()
    clouds[0].send(unit.schema(), unit.data())
    clouds[1].wrapping.rotate(clouds[1].store, NOW_MS)
    read, late = OutboxKeys.get, [lambda: clouds[1].wrapping.rotate(clouds[1].store, NOW_MS)]

    def key(keys: OutboxKeys, *names: str) -> Any:
        found = read(keys, *names)
        while late:
            late.pop()()
        return found

    monkeypatch.setattr(OutboxKeys, "get", key)
    listener = Listener()
    assert make_forwarder(clouds[0], listener).step(kit.RECIPIENT)
    assert len(listener.got) == 1
    assert "outbox_key_gone" not in clouds[0].counters()


def test_a_key_that_is_destroyed_while_keys_are_wrapped_anew_stays_destroyed(
    clouds: list[Cloud], unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program withdraws between the reading of a key and its writing."""
    clouds[0].give()
    clouds[0].send(unit.schema(), unit.data())
    read = OutboxKeys.all

    def late(keys: OutboxKeys) -> Any:
        found = read(keys)
        Outbox(keys._db).destroy(kit.RECORD_ID, 0)
        return found

    monkeypatch.setattr(OutboxKeys, "all", late)
    clouds[1].wrapping.rotate(clouds[1].store, NOW_MS)
    assert clouds[0].ask("select count(*) from outbox_key") == (0,)
