"""Windows close when they should, rows go at most sixteen at a time, and a check-in comes before anything else."""

from __future__ import annotations

import itertools

from carnet.ack import NO_HASH, Ack
from carnet.signals import DeliveryClass
from carnet_agent.operating import Operating
from carnet_agent.sending.contact import RETRY_FIRST_MS, Contact
from carnet_agent.sending.sender import Sender
from carnet_agent.sending.window import ALL, Window

BACKGROUND, LIVE, EVENT = DeliveryClass.BACKGROUND, DeliveryClass.LIVE, DeliveryClass.EVENT


def test_each_class_has_a_window_of_its_own() -> None:
    window = Window(0)
    assert window.due(9_999, 10, event=False) == frozenset()
    assert window.due(10_000, 10, event=False) == {LIVE}
    window.closed(frozenset({LIVE}), 10_000)
    assert window.due(19_999, 10, event=False) == frozenset()
    assert window.due(60_000, 10, event=False) == {LIVE, BACKGROUND}


def test_an_event_does_not_wait_and_closes_nothing_else() -> None:
    assert Window(0).due(1, 10, event=True) == {EVENT}


def test_sixteen_kilobytes_close_everything() -> None:
    assert Window(0).due(1, 16_384, event=False) == ALL
    assert Window(0).due(1, 16_383, event=False) == frozenset()


def test_a_checkpoint_comes_every_ten_seconds_and_not_after_a_full_close() -> None:
    window = Window(0)
    assert not window.checkpoint_due(9_999)
    assert window.checkpoint_due(10_000)
    window.checkpointed(10_000)
    window.closed(ALL, 15_000)
    assert not window.checkpoint_due(24_999)
    assert window.checkpoint_due(25_000)


def test_sixteen_data_envelopes_fly_and_others_pass_them() -> None:
    sender = Sender()
    for number in range(16):
        sender.sent(number, 0, data=True)
    assert sender.room(data=True) == 0
    assert sender.room(data=False) > 0
    sender.settled([3])
    assert sender.room(data=True) == 1


def test_an_unanswered_row_goes_again_after_ten_seconds_doubling_to_five_minutes() -> None:
    sender = Sender()
    sender.sent(1, 0, data=True)
    waits, now = [], 0
    for _ in range(7):
        waits.append(sender.next_ms - now)
        now = sender.next_ms
        assert sender.due(now - 1) == []
        assert sender.due(now) == [1]
        sender.sent(1, now, data=True)
    assert waits == [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]


def test_after_a_check_in_everything_unanswered_goes_again_and_waits_ten_seconds_anew() -> None:
    sender = Sender()
    for now in (0, 10_000, 30_000):
        sender.sent(1, now, data=True)
    sender.again(40_000)
    assert sender.due(40_000) == [1]
    sender.sent(1, 40_000, data=True)
    assert sender.next_ms == 50_000


def test_a_connection_takes_what_was_on_its_way_with_it() -> None:
    sender = Sender()
    sender.sent(1, 0, data=True)
    sender.forget()
    assert sender.flying == frozenset()


def ack(nonce: bytes) -> Ack:
    return Ack(b"streamaa", 0, NO_HASH, 5, nonce)


def test_only_an_answer_to_the_last_check_in_of_this_connection_is_fresh() -> None:
    contact = Contact()
    contact.up(0)
    assert contact.due(0)
    contact.asked(b"1" * 16, 0)
    contact.asked(b"2" * 16, 10_000)
    assert contact.answered(ack(b"1" * 16), 10_001) is None
    assert contact.answered(ack(bytes(16)), 10_001) is None
    assert not contact.fresh
    assert contact.answered(ack(b"2" * 16), 10_050) == 10_000
    assert contact.fresh
    assert contact.answered(ack(b"2" * 16), 10_060) is None
    assert not contact.due(10_050 + 1_799_999)
    assert contact.due(10_050 + 1_800_000)
    contact.down()
    assert not contact.fresh
    assert not contact.due(1 << 40)


def test_a_check_in_without_an_answer_is_made_again_ever_more_rarely() -> None:
    contact = Contact()
    contact.up(0)
    asked: list[int] = []
    now = 0
    while len(asked) < 7:
        if contact.due(now):
            contact.asked(b"%016d" % now, now)
            asked.append(now)
        now += 1000
    assert [b - a for a, b in itertools.pairwise(asked)] == [10_000, 20_000, 40_000, 80_000, 160_000, 300_000]


def test_what_the_cloud_should_hear_of_is_no_repetition() -> None:
    """However often nobody has answered, news is repeated after ten seconds."""
    contact = Contact()
    contact.up(0)
    for n in range(4):
        contact.asked(b"%016d" % n, 0)
    contact.hurry(5_000)
    assert not contact.due(4_999)
    assert contact.due(5_000)
    contact.asked(b"n" * 16, 5_000)
    assert contact.due(5_000 + RETRY_FIRST_MS)


def test_the_ignition_and_a_low_battery_ask_for_a_flush_once() -> None:
    operating = Operating(11.5)
    assert operating.flush_reason({"ignition": None, "voltage": None}) is None
    assert operating.flush_reason({"ignition": 2, "voltage": 12.4}) is None
    assert operating.flush_reason({"ignition": 0, "voltage": 12.4}) == "ignition_off"
    assert operating.flush_reason({"ignition": 0, "voltage": 11.4}) == "under_voltage"
    assert operating.flush_reason({"ignition": 0, "voltage": 11.3}) is None


def test_a_satellite_time_counts_once() -> None:
    """A value that stands still tells how late it was, not how late it is."""
    operating = Operating(None)
    assert operating.new_time_ms({"gnss_time": 1_800_000_000}) == 1_800_000_000_000
    assert operating.new_time_ms({"gnss_time": 1_800_000_000}) is None
    assert operating.new_time_ms({"gnss_time": 0}) is None
    assert operating.new_time_ms({}) is None
