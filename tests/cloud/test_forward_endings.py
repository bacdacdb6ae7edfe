"""What ends while a group is being sent: nothing follows, and of every event it is told what became of it."""

# ruff: noqa: F811 - fixtures of another file

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from carnet.ids import format_id
from carnet_cloud.consents import Ended
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.journal import Narrowing
from carnet_cloud.lease import BEGIN_MS, LEASE_MS, Lease, LeaseOver
from carnet_cloud.recipients import Event, Outcome
from carnet_cloud.rendering import read
from tests import consentkit as kit
from tests.cloud.forwardkit import (  # noqa: F401 - fixtures, too
    OTHER,
    Listener,
    cloud,
    forwarder,
    later,
    listener,
    outcomes,
    queued,
    queued_for_two,
    unit,
    withdraw,
)
from tests.cloud.kit import Cloud, Unit, readings


def test_a_withdrawal_in_the_middle_of_a_group_tells_of_every_event_what_became_of_it(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Answered: confirmed. In the air: unknown. Not begun: destroyed, for nobody has seen it. And nothing follows."""
    token = queued(cloud, unit, 6)
    ended: list[Ended] = []
    listener.during = lambda n: ended.append(withdraw(cloud, token)) if n == 3 else None
    assert forwarder.step(kit.RECIPIENT)
    assert (listener.sends, len(listener.got)) == (3, 2)
    assert ended[0].silent_after_ms <= 500
    assert outcomes(cloud) == {"confirmed": 2, "destroyed": 3, "unknown": 1}
    assert not forwarder.step(kit.RECIPIENT)
    assert listener.sends == 3


def test_a_withdrawal_counts_what_the_sender_has_said_by_the_time_it_returns(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """The sender is another thread, and is done before the drain is."""
    token = queued(cloud, unit, 6)
    in_the_air, go_on = threading.Event(), threading.Event()

    def wait(n: int) -> None:
        if n == 3:
            in_the_air.set()
            go_on.wait(30)

    listener.during = wait
    sender = threading.Thread(target=forwarder.step, args=(kit.RECIPIENT,), daemon=True)

    def pause() -> None:
        cloud.clock.pause()
        go_on.set()
        sender.join(30)

    cloud.consents._waits = replace(cloud.consents._waits, pause=pause)
    sender.start()
    assert in_the_air.wait(30)
    ended = withdraw(cloud, token)
    assert (ended.destroyed, ended.unknown) == (3, 1)
    assert outcomes(cloud) == {"confirmed": 2, "destroyed": 3, "unknown": 1}


def test_the_end_of_one_record_leaves_the_others_of_the_group(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """They are put back and go in the next group; of the ended one nothing goes after its withdrawal has returned."""
    token, _ = queued_for_two(cloud, unit, 4)
    returned_at: list[int] = []

    def end(n: int) -> None:
        if n == 2:
            withdraw(cloud, token)
            returned_at.append(len(listener.got))

    listener.during = end
    while forwarder.step(kit.RECIPIENT):
        pass
    assert listener.records[returned_at[0] :].count(kit.RECORD_ID) == 0
    assert listener.records.count(OTHER) == 4
    assert outcomes(cloud, OTHER) == {"confirmed": 4}
    told = outcomes(cloud)
    assert told.get("confirmed", 0) == listener.records.count(kit.RECORD_ID)
    assert sum(told.values()) == 4


def test_a_withdrawal_between_the_lease_and_the_first_write_sends_nothing(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All leases of the group are found and cut, and the owner is told that nobody saw anything."""
    token = queued(cloud, unit, 3)
    ended: list[Ended] = []

    def withdrawn_meanwhile(*arguments: object) -> object:
        ended.append(withdraw(cloud, token))
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("carnet_cloud.sending.read", withdrawn_meanwhile)
    assert forwarder.step(kit.RECIPIENT)
    assert listener.sends == 0
    assert outcomes(cloud) == {"destroyed": 3}


def test_what_was_tried_before_and_not_begun_again_is_unknown(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Only of what was never tried anybody can say that it was not seen."""
    token = queued(cloud, unit, 3)
    listener.outcome = Outcome.RETRY
    forwarder.step(kit.RECIPIENT)
    cloud.clock.ms += 10_000
    listener.during = lambda n: withdraw(cloud, token) if n == 4 else None
    forwarder.step(kit.RECIPIENT)
    assert listener.sends == 4
    assert outcomes(cloud) == {"unknown": 3}


def test_a_recipient_that_hangs_in_the_middle_of_a_group_delays_only_itself(tmp_path: Path) -> None:
    """Its own answered events are told 15 s later; the other recipient's are sent and told meanwhile."""
    names = (kit.RECIPIENT, format_id("rcp_", b"other shop"))
    cloud, unit = Cloud(tmp_path, recipients=names), Unit()
    cloud.enrol(unit)
    cloud.give()
    other = kit.offer_bytes(id=format_id("off_", b"other shop"), recipient=names[1])
    cloud.offers.publish(other)
    cloud.consents.give(kit.token(other, id=OTHER), kit.VEHICLE)
    cloud.send(unit.schema(), *[unit.data(records=(kit.RECORD_ID, OTHER)) for _ in range(4)])
    hangs, answers = Listener(), Listener()
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    ends = dict(zip(names, (hangs, answers), strict=True))
    forwarder = Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"sender01")
    during: list[dict[str, int]] = []

    def hang(n: int) -> None:
        if n == 3:
            assert forwarder.step(names[1])
            later(cloud, 15_000)
            during.extend((outcomes(cloud), outcomes(cloud, OTHER)))

    hangs.during = hang
    forwarder.step(kit.RECIPIENT)
    assert during == [{"queued": 4}, {"confirmed": 4}]
    assert outcomes(cloud)["confirmed"] == 3


def test_a_withdrawal_waits_for_no_other_record_of_a_group(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Only what is being written under the record may still write: an event of it that is not begun never will be."""
    queued_for_two(cloud, unit, 2)
    flying: list[int] = []

    def look(n: int) -> None:
        if n == 1:
            ended = kit.RECORD_ID if listener_record(cloud) == OTHER else OTHER
            flying.append(cloud.leases.flying(ended))

    listener.during = look
    forwarder.step(kit.RECIPIENT)
    assert flying == [0]


def listener_record(cloud: Cloud) -> str:
    """The record whose event is being written."""
    (record,) = [record for record in (kit.RECORD_ID, OTHER) if cloud.leases.flying(record)]
    return record


def test_a_record_that_expires_in_the_middle_of_a_group_is_over_to_the_millisecond(
    cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener
) -> None:
    """Its leases end with it, however young they are; there is no event that would cut them."""
    cloud.give(expires_ms=cloud.clock.ms + 2)
    cloud.send(unit.schema(), *[unit.data(readings(boot_ms=unit.boot_ms - 1000)) for _ in range(3)])
    listener.during = lambda _: later(cloud, 1)
    forwarder.step(kit.RECIPIENT)
    assert len(listener.got) == 1
    cloud.clock.ms += 10_000
    assert not forwarder.step(kit.RECIPIENT)
    assert outcomes(cloud) == {"confirmed": 1, "unknown": 2}


class SlowReader(Listener):
    """Takes a piece every 20 ms of the monotonic clock, for 4 s; ``after_50`` happens once it has 50 of them."""

    def __init__(self, after_50: Callable[[], object]) -> None:
        super().__init__()
        self.ms = 0.0
        self.after_50 = after_50

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:
        try:
            for n in range(200):
                lease.guard()
                self.sends = n
                self.ms += 20
                if n == 50:
                    self.after_50()
        except LeaseOver:
            return Outcome.CUT
        return Outcome.CONFIRMED


def falls_behind(cloud: Cloud) -> None:
    """A car or an owner's tool has seen a higher generation than this store has: silent until confirmed."""
    with cloud.store.transaction() as t:
        t.consents.set_silent(kit.RECORD_ID, True)


def is_narrowed_elsewhere(cloud: Cloud) -> None:
    """Another process has written the line of a withdrawal, and its transaction is still to come."""
    cloud.journal.append(Narrowing(kit.RECORD_ID, "withdraw", "owner", cloud.clock.ms))


def expires(cloud: Cloud) -> None:
    """The server's clock was behind, and is set."""
    cloud.clock.ms += 31 * kit.DAY_MS


@pytest.mark.parametrize("ending", [falls_behind, is_narrowed_elsewhere, expires])
def test_a_slow_send_is_cut_within_a_lease_by_an_ending_that_cuts_no_lease_here(
    cloud: Cloud, unit: Unit, ending: Callable[[Cloud], object]
) -> None:
    """A renewal reads GIVEN again, and with nothing ended it goes on for ten leases."""
    queued(cloud, unit, 1)
    assert send_slowly(cloud, lambda: None) == 199
    cloud.send(unit.data())
    assert 50 <= send_slowly(cloud, partial(ending, cloud)) <= 50 + LEASE_MS // 20
    assert outcomes(cloud)["confirmed"] == 1


def send_slowly(cloud: Cloud, after_50: Callable[[], object]) -> int:
    """Forward one event to a slow reader; how many pieces it took behind the first."""
    slow = SlowReader(after_50)
    clocks = Clocks(cloud.clock.now_ms, lambda: slow.ms, lambda: 0.0)
    ends = {kit.RECIPIENT: slow}
    Forwarder(cloud.store, ends, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"s").step(kit.RECIPIENT)
    return slow.sends


def test_no_lease_outlives_its_group(cloud: Cloud, unit: Unit, forwarder: Forwarder, listener: Listener) -> None:
    """Whether it was sent, cut, put back or broke."""
    queued(cloud, unit, 5)

    def fail(n: int) -> None:
        cloud.clock.ms += BEGIN_MS // 2
        if n == 2:
            raise AttributeError

    listener.during = fail
    with pytest.raises(AttributeError):
        forwarder.step(kit.RECIPIENT)
    assert cloud.leases.cut(kit.RECORD_ID) == 0
    assert not cloud.leases.flying(kit.RECORD_ID)
