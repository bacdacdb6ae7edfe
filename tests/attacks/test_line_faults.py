"""Between a car and its cloud: a death between commit and answer, a dead line, weeks offline, a herd, disorder."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carnet.ack import NO_NONCE, Ack
from carnet.down import sign_ack
from carnet.envelope import parse_envelope, sign_envelope
from carnet.keys import SigningKey
from carnet.topics import topic_down, topic_up
from carnet_agent.buffer import Priority
from carnet_agent.sending.sender import WINDOW
from carnet_cloud.core import Receiver
from carnet_cloud.service import GROUP_MAX
from tests import consentkit as kit
from tests.agent.agentkit import SIGN, Rig, answer, grants
from tests.agent.linekit import World
from tests.cloud.kit import DEVICE, KEYS, NOW_MS, Cloud, Unit, readings

HOUR_MS = 3_600_000
ROWS_SENT = 3000


def test_f9_a_receiver_that_dies_between_its_commit_and_its_answer_forwards_nothing_twice(tmp_path: Path) -> None:
    """The unit sends again; the next receiver finds it durable, says so, and makes no second event."""
    cloud, unit = Cloud(tmp_path), Unit()
    cloud.enrol(unit)
    cloud.give()
    group = [unit.schema(), unit.data(), unit.data()]
    cloud.send(*group)
    before = [event["id"] for event in cloud.events()]
    cloud.receiver = Receiver(cloud.store, KEYS, cloud.outlet, random.Random(6).randbytes)
    (ack,) = unit.acks(cloud.send(*group))
    assert all(ack.covers(number) for number in (1, 2, 3))
    assert [event["id"] for event in cloud.events()] == before
    assert len(before) == 2
    assert cloud.counters()["duplicates"] == 3


def test_f11_two_hours_on_a_line_that_is_dead_and_says_nothing(tmp_path: Path) -> None:
    """Nothing is lost, little is sent into the void, and when the line is found dead everything arrives once."""
    world = World(tmp_path)
    world.connect()
    world.give()
    world.drive(61)
    world.online = False
    world.rig.take()
    world.rig.pass_time(HOUR_MS // 3, step_ms=10_000)
    world.rig.pass_time(2 * HOUR_MS, step_ms=10_000, frames=False)
    into_the_void = world.rig.take()
    data = Counter(parse_envelope(each).header.seq for each in into_the_void)
    data.pop(0, None)
    assert len(data) >= WINDOW, "it does try"
    assert max(data.values()) <= (HOUR_MS // 3 + 2 * HOUR_MS) / 300_000 + 6, "ten seconds, doubling to five minutes"
    assert world.samples()[kit.SPEED]
    world.connect(False)
    world.connect()
    for _ in range(30):
        world.rig.pass_time(1000, frames=False)
        world.exchange()
    times = world.samples()[kit.SPEED]
    assert len(times) == len(set(times))
    assert len(times) == pytest.approx(61 + 1200, abs=10)
    assert world.rig.count("rows_waiting") == 0


# weeks


def many_rows(rig: Rig, count: int) -> None:
    """As if so many windows had been written after the newest one; those that are sent are signed for their place."""
    db = rig.buffer_db
    last = rig.agent._buffer.last_seq
    db.execute(
        "with recursive n(k) as (select 1 union all select k + 1 from n where k < ?)"
        " insert into row (stream, seq, type, priority, acked, samples, manifest, envelope)"
        " select stream, seq + k, type, priority, 0, samples, randomblob(32), zeroblob(64) from row, n where seq = ?",
        (count, last),
    )
    db.execute("insert or replace into meta values ('last_seq', ?)", ((last + count).to_bytes(8, "big"),))
    (newest,) = db.execute("select envelope from row where seq = ?", (last,)).fetchone()
    header, (part,) = parse_envelope(newest).header, parse_envelope(newest).parts
    for seq in range(last + 1, last + ROWS_SENT + 2 * WINDOW + 1):
        envelope = sign_envelope(replace(header, seq=seq), [(part.kid, part.box or b"")], SIGN)
        db.execute("update row set envelope = ? where stream = ? and seq = ?", (envelope, header.stream, seq))


def work(db: sqlite3.Connection) -> Counter[str]:
    """Counts what SQLite does from now on, in thousands of its own steps: no clock, no other machine."""
    done: Counter[str] = Counter()

    def step() -> int:
        done["steps"] += 1
        return 0

    db.set_progress_handler(step, 1000)
    return done


def turns(count: int) -> int:
    """Thousands of steps that a unit with so many rows needs to send ROWS_SENT of them, one window after another."""
    rig = Rig(NOW_MS, buffer_bytes=1 << 28)
    rig.start()
    rig.grant(grants())
    rig.pass_time(61_000)
    many_rows(rig, count)
    rig.connect()
    (check_in,) = rig.take()
    rig.hear(answer(check_in, server_ms=rig.wall_ms))
    done, buffer = work(rig.buffer_db), rig.agent._buffer
    sent: set[int] = set()
    while len(sent) < ROWS_SENT:
        rows = [row for row in map(buffer.row, rig.agent._out.sender.flying) if row is not None]
        flying = {row.seq for row in rows}
        assert len([row for row in rows if row.priority != Priority.KEEP]) == WINDOW
        assert not flying & sent
        sent |= flying
        ack = Ack(buffer.stream, 0, bytes(32), rig.wall_ms, ranges=((min(flying), max(flying)),))
        rig.hear(sign_ack(ack, DEVICE, KEYS.sign))
    steps = done["steps"]
    assert buffer.counts()["rows_waiting"] == count + 2 - len(sent)
    return steps


def test_f12_a_hundred_thousand_rows_are_sent_a_window_at_a_time_and_each_at_the_price_of_the_first() -> None:
    """Weeks offline: never more in flight than a window, and a row costs no more because so many wait."""
    few, many = turns(2 * ROWS_SENT), turns(100_000)
    assert many < 2 * few


def herd(cloud: Cloud, count: int) -> list[Unit]:
    """Units of one car, which is as good as units of many: each has its own id, keys and stream."""
    units = []
    for number in range(1, count + 1):
        name = number.to_bytes(4, "big")
        unit = Unit(device=name * 4, key=SigningKey.from_seed(name * 8), stream=name * 2)
        cloud.enrol(unit)
        units.append(unit)
    cloud.give()
    return units


def test_f19_a_thousand_units_that_come_back_at_once_are_all_answered(tmp_path: Path) -> None:
    """In groups as the service takes them: every check-in gets its own nonce back, every row its acknowledgement."""
    cloud = Cloud(tmp_path)
    units = herd(cloud, 1000)
    nonces = {unit.device: unit.device for unit in units}
    messages = [
        (topic_up(unit.device), payload)
        for unit in units
        for payload in (unit.check_in(nonces[unit.device]), unit.schema(), unit.data())
    ]
    random.Random(19).shuffle(messages)
    answers: dict[str, list[bytes]] = {}
    waiting = messages
    for _ in range(2):
        # rows that came before their schema come again, as everything without an answer does
        for first in range(0, len(waiting), GROUP_MAX):
            for topic, payload in cloud.receiver.process(waiting[first : first + GROUP_MAX], NOW_MS):
                answers.setdefault(topic, []).append(payload)
        waiting = [message for message in messages if parse_envelope(message[1]).header.seq]
    for unit in units:
        acks = unit.acks(answers[topic_down(unit.device)])
        assert all(any(ack.covers(number) for ack in acks) for number in (1, 2))
        assert [ack.nonce for ack in acks if ack.nonce != NO_NONCE] == [nonces[unit.device]]
    assert not {name: n for name, n in cloud.counters().items() if name.startswith(("refused_", "failed_")) and n}
    assert len(cloud.events()) == 1000


# disorder

ROWS = 9


@settings(max_examples=60, deadline=None)
@given(
    order=st.lists(st.integers(0, ROWS - 1), min_size=ROWS, max_size=3 * ROWS),
    last=st.permutations(range(ROWS)),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
)
def test_f26_whatever_order_envelopes_come_in_and_however_often_each_is_one_event(
    order: list[int], last: list[int], sizes: list[int]
) -> None:
    """In any groups, late, early or again; in the end all are acknowledged and every reading was forwarded once."""
    with tempfile.TemporaryDirectory() as folder:
        cloud, unit = Cloud(Path(folder)), Unit()
        cloud.enrol(unit)
        cloud.give()
        payloads = [unit.schema()]
        payloads += [unit.data(readings(boot_ms=unit.boot_ms - 10_000 * number)) for number in range(1, ROWS)]
        # the unit sends everything without an answer again, the schema with it
        arriving = [payloads[each] for each in (*order, *last, *last)]
        answers, at = list[bytes](), 0
        while at < len(arriving):
            size = sizes[at % len(sizes)]
            answers += cloud.send(*arriving[at : at + size])
            at += size
        acks = unit.acks(answers)
        assert all(any(ack.covers(number) for ack in acks) for number in range(1, ROWS + 1))
        assert acks[-1].watermark == ROWS
        events = cloud.events()
        assert len({event["id"] for event in events}) == len(events) == ROWS - 1
        times = [t for event in events for column in event["data"]["columns"][:1] for t in column["t_ms"]]
        assert len(times) == len(set(times)) == 4 * (ROWS - 1)
