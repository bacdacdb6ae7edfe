"""A question for a replay and a narrowing at the same time, from two programs on one PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from carnet_cloud.replay import Replaying, Report
from carnet_cloud.store.postgres import PostgresStore
from carnet_cloud.store.replays import Question
from tests import consentkit as kit
from tests.cloud.forwardkit import Listener, make_forwarder
from tests.cloud.kit import Cloud, Unit
from tests.store.backends import WAIT_S, until
from tests.store.test_locks import waiting

OFFER = kit.offer_bytes(replay_ms=6 * 3_600_000)


@pytest.fixture
def listener(clouds: list[Cloud], unit: Unit) -> Listener:
    """It has had three events."""
    clouds[0].offers.publish(OFFER)
    clouds[0].consents.give(kit.token(OFFER), kit.VEHICLE)
    clouds[0].send(unit.schema(), *[unit.data() for _ in range(3)])
    found = Listener()
    assert make_forwarder(clouds[0], found).step(kit.RECIPIENT)
    return found


def replaying(cloud: Cloud) -> Replaying:
    return Replaying(cloud.store, cloud.book.standing, cloud.clock.now_ms)


def meanwhile(stores: list[PostgresStore], work: Callable[[], object]) -> threading.Thread:
    """Begun in another program, and seen to wait for the transaction that is open here."""
    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: waiting(stores[2]))
    return thread


def destroy(cloud: Cloud) -> None:
    """As a narrowing does."""
    with cloud.store.transaction() as t:
        t.outbox.destroy(kit.RECORD_ID, cloud.clock.ms)


def test_a_narrowing_destroys_what_a_question_is_just_putting_back(
    stores: list[PostgresStore], clouds: list[Cloud], listener: Listener
) -> None:
    """It waits for those rows, and finds them as the question has left them."""
    question = replaying(clouds[0])
    first = listener.got[0]
    with stores[0].transaction() as t:
        found = t.replays.done_from(kit.RECIPIENT, first, clouds[0].clock.ms, 9) or []
        t.replays.ask(kit.RECIPIENT, Question(first, clouds[0].clock.ms, b""), [(event, "") for event in found])
        thread = meanwhile(stores, lambda: destroy(clouds[1]))
    thread.join(WAIT_S)
    report = question.report(kit.RECIPIENT)
    assert (report.asked, report.destroyed, report.waiting) == (3, 3, 0)
    assert not make_forwarder(clouds[0], listener).step(kit.RECIPIENT)


def test_a_question_is_written_down_while_nobody_narrows(
    stores: list[PostgresStore], clouds: list[Cloud], listener: Listener
) -> None:
    """Both lock many rows, each in its own order: they would wait for one another, and the server would end one."""
    with stores[0].transaction() as t:
        t.others.change_records([kit.RECORD_ID])
        thread = meanwhile(stores, lambda: replaying(clouds[1]).ask(kit.RECIPIENT, listener.got[0].hex()))
        assert t.replays.question(kit.RECIPIENT) is None
        assert t.outbox.depth() == {}
    thread.join(WAIT_S)
    assert replaying(clouds[0]).report(kit.RECIPIENT).waiting == 3


def test_a_question_puts_nothing_back_that_a_narrowing_is_just_destroying(
    stores: list[PostgresStore], clouds: list[Cloud], listener: Listener
) -> None:
    reports: list[Report] = []

    def ask() -> None:
        reports.append(replaying(clouds[1]).ask(kit.RECIPIENT, listener.got[0].hex()))

    with stores[0].transaction() as t:
        t.outbox.destroy(kit.RECORD_ID, clouds[0].clock.ms)
        thread = meanwhile(stores, ask)
    thread.join(WAIT_S)
    (report,) = reports
    assert (report.asked, report.destroyed, report.waiting) == (3, 3, 0)
    assert not make_forwarder(clouds[0], listener).step(kit.RECIPIENT)
