"""Several programs on one PostgreSQL: what excludes what, no update is lost, and a dead one holds nobody up."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carnet.errors import ConfigError, RemoteError, UnavailableError
from carnet.states import EventKind
from carnet_cloud.config import StoreSection
from carnet_cloud.consents import Ended, Waits
from carnet_cloud.enrol import enrol
from carnet_cloud.forward import Forwarder
from carnet_cloud.lease import LEASE_MS, Lease, LeaseOver
from carnet_cloud.membership import MEMBER_MS, Membership
from carnet_cloud.opening import open_alone
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.sending import Sent
from carnet_cloud.sharing import SHARDS
from carnet_cloud.store import Transaction
from carnet_cloud.store.outbox import Outbox, Queued
from carnet_cloud.store.postgres import PostgresStore
from carnet_cloud.store.postgres.locks import PostgresLocks
from tests import consentkit as kit
from tests.cloud import kit as cloudkit
from tests.cloud.kit import VEHICLE, Cloud, Unit
from tests.cloud.test_enrol import enrolment
from tests.cloud.test_forward import OTHER, Listener, make_forwarder, outcomes
from tests.store.backends import OnPostgres

Ask = Callable[[Transaction], object]
OTHER_VEHICLE = bytes([VEHICLE[0] ^ 1]) + VEHICLE[1:]
MEMBER = b"receiver"
WAIT_S = 10.0

QUEUED = Queued(bytes(16), kit.RECORD_ID, kit.RECIPIENT, 1, 1, b"", 1)

KEEP: Ask = lambda t: t.others.keep_vehicle(VEHICLE)  # noqa: E731 - a table of questions
KEEP_DEVICE: Ask = lambda t: t.others.keep_devices([cloudkit.DEVICE])  # noqa: E731
KEEP_RECORD: Ask = lambda t: t.others.keep_records([kit.RECORD_ID])  # noqa: E731
CHANGE: Ask = lambda t: t.others.change_vehicle(VEHICLE)  # noqa: E731
CHANGE_RECORD: Ask = lambda t: t.others.change_records([kit.RECORD_ID])  # noqa: E731
CHANGE_OTHER: Ask = lambda t: t.others.change_vehicle(OTHER_VEHICLE)  # noqa: E731
NARROW: Ask = lambda t: t.others.narrow()  # noqa: E731
FORWARD: Ask = lambda t: t.others.forward(kit.RECIPIENT)  # noqa: E731
FORWARD_OTHER: Ask = lambda t: t.others.forward("rcp_somebodyelse")  # noqa: E731
WRAP: Ask = lambda t: t.others.wrap()  # noqa: E731
REWRAP: Ask = lambda t: t.others.rewrap()  # noqa: E731


@pytest.fixture
def stores(many: OnPostgres) -> Iterator[list[PostgresStore]]:
    """Two programs' and a third for looking on."""
    opened = [many.open() for _ in range(3)]
    yield opened
    for store in opened:
        store.close()


@pytest.fixture
def clouds(stores: list[PostgresStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cloud]:
    """Two receivers, which share journal and wrapping keys."""
    found = []
    for store in stores[:2]:
        monkeypatch.setattr(cloudkit, "memory_store", lambda store=store: store)
        found.append(Cloud(tmp_path))
    found[1].wrapping._random = random.Random(6).randbytes
    return found


@pytest.fixture
def unit(clouds: list[Cloud]) -> Unit:
    unit = Unit()
    clouds[0].enrol(unit)
    return unit


def waiting(store: PostgresStore) -> bool:
    """Whether some program waits for a lock."""
    with store.transaction() as t:
        return bool(t.outbox._db.execute("select count(*) from pg_locks where not granted").fetchone()[0])


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def waits(stores: list[PostgresStore], first: Ask, second: Ask) -> bool:
    """Whether a transaction that asks ``second`` waits for one that has asked ``first`` to end."""
    through = threading.Event()

    def work() -> None:
        with stores[1].transaction() as t:
            second(t)
        through.set()

    thread = threading.Thread(target=work)
    with stores[0].transaction() as t:
        first(t)
        thread.start()
        until(lambda: through.is_set() or waiting(stores[2]))
        waited = not through.is_set()
    thread.join(WAIT_S)
    assert through.is_set()
    return waited


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (KEEP, KEEP, False),
        (KEEP, CHANGE, True),
        (CHANGE, KEEP, True),
        (CHANGE, CHANGE, True),
        (CHANGE, CHANGE_OTHER, False),
        (KEEP_DEVICE, KEEP_RECORD, False),
        (KEEP_DEVICE, CHANGE_RECORD, True),
        (CHANGE_RECORD, KEEP_DEVICE, True),
        (KEEP_RECORD, CHANGE, True),
        (NARROW, NARROW, True),
        (FORWARD, FORWARD, True),
        (FORWARD, FORWARD_OTHER, False),
        (WRAP, WRAP, False),
        (WRAP, REWRAP, True),
        (REWRAP, WRAP, True),
        (REWRAP, CHANGE, False),
    ],
)
def test_what_waits_for_what(
    stores: list[PostgresStore], clouds: list[Cloud], unit: Unit, first: Ask, second: Ask, expected: bool
) -> None:
    clouds[0].give()
    assert waits(stores, first, second) is expected


def sends(cloud: Cloud, unit: Unit, _: Forwarder) -> object:
    return cloud.send(unit.data())


def leases(_cloud: Cloud, _unit: Unit, forwarder: Forwarder) -> object:
    return forwarder._take(kit.RECIPIENT, 0.0)


def renews(_cloud: Cloud, _unit: Unit, forwarder: Forwarder) -> object:
    return forwarder._renew(QUEUED)


def settles(_cloud: Cloud, _unit: Unit, forwarder: Forwarder) -> object:
    forwarder._settle([Sent(QUEUED, Outcome.CONFIRMED)])
    return None


def gives(cloud: Cloud, _unit: Unit, _: Forwarder) -> object:
    return cloud.give(id=OTHER)


def confirms(cloud: Cloud, _unit: Unit, _: Forwarder) -> object:
    cloud.consents.confirm(kit.RECORD_ID)
    return None


def withdraws(cloud: Cloud, _unit: Unit, _: Forwarder) -> object:
    return cloud.consents.operate(kit.RECORD_ID, EventKind.REVOKE, "test")


def enrols(cloud: Cloud, unit: Unit, _: Forwarder) -> object:
    return enrol(cloud.store, enrolment(unit), kit.TENANT, 1)


@pytest.mark.parametrize(
    ("meanwhile", "work", "lacking"),
    [
        (CHANGE, sends, "keep_devices"),
        (CHANGE, sends, "keep_vehicle"),
        (CHANGE, leases, ""),
        (CHANGE, renews, ""),
        (CHANGE, settles, ""),
        (KEEP, gives, ""),
        (KEEP, confirms, ""),
        (KEEP, withdraws, ""),
        (KEEP, enrols, ""),
        (NARROW, withdraws, ""),
    ],
)
def test_whatever_decides_waits_for_who_changes_and_whatever_changes_for_who_decides(
    stores: list[PostgresStore],
    clouds: list[Cloud],
    unit: Unit,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Ask,
    work: Callable[[Cloud, Unit, Forwarder], object],
    lacking: str,
) -> None:
    """``lacking``: a way of asking that is not needed where there is the other."""
    clouds[0].give()
    clouds[0].send(unit.schema(), unit.data())
    if lacking:
        monkeypatch.setattr(PostgresLocks, lacking, lambda *_: None)
    forwarder = make_forwarder(clouds[1], Listener())

    def there() -> None:
        with contextlib.suppress(RemoteError):
            work(clouds[1], unit, forwarder)
        through.set()

    through = threading.Event()
    thread = threading.Thread(target=there)
    with stores[0].transaction() as t:
        meanwhile(t)
        thread.start()
        until(lambda: through.is_set() or waiting(stores[2]))
        waited = not through.is_set()
    thread.join(WAIT_S)
    assert through.is_set()
    assert waited


def test_no_generation_and_no_count_is_lost(stores: list[PostgresStore]) -> None:
    def work(store: PostgresStore) -> None:
        for _ in range(25):
            with store.transaction() as t:
                t.consents.raise_generation(VEHICLE, 1)
                t.counters.add("raised")

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with stores[0].transaction() as t:
        assert t.consents.generation(VEHICLE, 1) == t.counters.all()["raised"] == 75


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


class Unanswered(Listener):
    """Has every event as soon as it is sent; ``during`` runs before its answer comes."""

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        lease.guard()
        self.sends += 1
        self.got.append(event.event_id)
        self.during(self.sends)
        return Outcome.CONFIRMED


def test_what_hangs_at_one_and_what_it_had_answered_comes_again_from_another_under_the_same_ids(
    clouds: list[Cloud], unit: Unit
) -> None:
    """A limit (decisions 0013 and 0021): outcomes are written with their group, and its leases run out before."""
    clouds[0].give()
    clouds[0].send(unit.schema(), *[unit.data() for _ in range(3)])
    hangs, answers = Unanswered(), Listener()
    first, second = make_forwarder(clouds[0], hangs), make_forwarder(clouds[1], answers, b"sender02")

    def hang(sends: int) -> None:
        if sends == 2:
            for cloud in clouds:
                cloud.clock.ms += LEASE_MS + 1
            while second.step(kit.RECIPIENT):
                pass

    hangs.during = hang
    assert first.step(kit.RECIPIENT)
    assert (len(hangs.got), len(answers.got)) == (2, 3)
    assert set(hangs.got) < set(answers.got)
    assert outcomes(clouds[0]) == {"confirmed": 3}


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
    heard: list[str] = []
    started = threading.Event()

    def listen() -> None:
        for _ in range(100):
            started.set()
            heard.extend(stores[2].narrowed(0.1))
            if heard:
                return

    thread = threading.Thread(target=listen)
    thread.start()
    started.wait()
    time.sleep(0.05)
    clouds[0].consents.event(kit.event("withdraw", [token], clouds[0].clock.ms), kit.RECORD_ID)
    thread.join()
    assert heard == [kit.RECORD_ID]


# journal and wrapping keys


def test_what_one_program_narrowed_is_not_pending_at_the_other(clouds: list[Cloud], unit: Unit) -> None:
    """It reads the line in the journal they share, and the store says that it is done: after a resume it sends on."""
    token = clouds[0].give()
    pause = kit.event("pause", [token], clouds[0].clock.ms)
    clouds[0].consents.event(pause, kit.RECORD_ID)
    clouds[0].consents.event(kit.event("resume", [token, pause], clouds[0].clock.ms), kit.RECORD_ID)
    with clouds[1].store.transaction() as t:
        assert clouds[1].book.may_send(t, kit.RECORD_ID, clouds[1].clock.ms)


def test_a_program_that_starts_takes_nothing_back_of_what_others_have_applied(clouds: list[Cloud], unit: Unit) -> None:
    """It has read the journal before the line of another one, which the store counts already."""
    token = clouds[0].give()
    clouds[0].consents.event(kit.event("withdraw", [token], clouds[0].clock.ms), kit.RECORD_ID)
    assert clouds[1].consents.replay_journal() == 0
    assert clouds[0].ask("select journal_lines from incarnation") == (1,)


def test_what_one_program_could_not_finish_is_silent_at_the_other(clouds: list[Cloud], unit: Unit) -> None:
    """The line is in the journal; the transaction behind it failed. The other one's keeper finishes it."""
    token = clouds[0].give()
    clouds[0].consents._keep = _fails  # type: ignore[method-assign,assignment]
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
    assert clouds[1].wrapping.rotate(clouds[1].store) == 1
    listener = Listener()
    assert make_forwarder(clouds[0], listener).step(kit.RECIPIENT)
    assert len(listener.got) == 1
    assert clouds[0].wrapping.rotate(clouds[0].store) == 1
    clouds[1].send(unit.data())
    assert make_forwarder(clouds[1], listener).step(kit.RECIPIENT)
    assert len(listener.got) == 2


def test_a_key_that_is_destroyed_while_keys_are_wrapped_anew_stays_destroyed(
    clouds: list[Cloud], unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program withdraws between the reading of a key and its writing."""
    clouds[0].give()
    clouds[0].send(unit.schema(), unit.data())
    read = Outbox.all_keys

    def late(outbox: Outbox) -> Any:
        found = read(outbox)
        outbox.destroy(kit.RECORD_ID, 0)
        return found

    monkeypatch.setattr(Outbox, "all_keys", late)
    clouds[1].wrapping.rotate(clouds[1].store)
    assert clouds[0].ask("select count(*) from outbox_key") == (0,)


# shards


def members(stores: list[PostgresStore]) -> list[Membership]:
    return [Membership(store, bytes([number]) * 8) for number, store in enumerate(stores)]


def test_receivers_share_all_shards_and_give_them_back(many: OnPostgres) -> None:
    first, second = members([many.open(), many.open()])
    assert len(first.turn()) == SHARDS
    assert second.turn() == frozenset()
    assert len(first.turn()) == SHARDS // 2
    assert len(second.turn()) == SHARDS // 2
    assert first.turn() | second.turn() == frozenset(range(SHARDS))
    first.leave()
    assert len(second.turn()) == SHARDS
    second.leave()
    assert many.rows("select count(*) from receiver") == [(0,)]


def test_the_shards_of_a_receiver_that_shows_no_life_are_taken_over(stores: list[PostgresStore]) -> None:
    """Not before its time is over by the store's clock, and not in the middle of its transaction."""
    first, second = members(stores[:2])
    first.turn()
    assert second.turn() == frozenset()
    with stores[2].transaction() as t:
        t.shards.live(bytes(8), t.others.now_ms() - 1)
    with stores[0].transaction() as t:
        assert len(first.serving(t)) == SHARDS
        assert second.turn() == frozenset()
    assert len(second.turn()) == SHARDS
    with stores[0].transaction() as t:
        assert first.serving(t) == frozenset()
    assert MEMBER_MS < 5000


def test_messages_of_a_shard_that_others_serve_are_left_to_them(clouds: list[Cloud], unit: Unit) -> None:
    """Neither taken nor acknowledged: the car sends them again."""
    clouds[0].give()
    number = unit.device[0]
    clouds[0].receiver._serving = lambda _: frozenset(range(SHARDS)) - {number}
    payload = unit.schema()
    assert clouds[0].send(payload) == []
    assert clouds[0].counters()["shard_of_another"] == 1
    assert clouds[0].ask("select count(*) from replay") == (0,)
    clouds[1].receiver._serving = lambda _: frozenset({number})
    assert len(unit.acks(clouds[1].send(payload))) == 1


def test_a_receiver_with_a_journal_of_its_own_does_not_start_beside_others(stores: list[PostgresStore]) -> None:
    first, second = members(stores[:2])
    second.require_journal(stores[2], known=False)
    first.turn()
    second.require_journal(stores[2], known=True)
    with pytest.raises(ConfigError) as refused:
        second.require_journal(stores[2], known=False)
    assert refused.value.reason == "journal_other"


def test_a_command_leaves_a_store_to_the_receivers_that_work_on_it(
    stores: list[PostgresStore], many: OnPostgres
) -> None:
    """It asks the running service, as with a file that is in use; afterwards it opens the store itself."""
    section = StoreSection(url=many.url, journal=Path("journal/narrowings"), wrapping_keys=Path("keys"))
    (first,) = members(stores[:1])
    first.turn()
    with pytest.raises(UnavailableError) as refused:
        open_alone(section, b"i" * 16, 1)
    assert refused.value.reason == "store_in_use"
    first.leave()
    open_alone(section, b"i" * 16, 1).close()
